"""Recording: validation, selection, averaging, splitting and putting together."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from bregma import Recording
from bregma.errors import InvalidArgument, InvalidRecording, NotIdentifiable, UnknownName


def make(n_presentations=6, n_units=3, times=None, seed=0, **kwargs) -> Recording:
    rng = np.random.default_rng(seed)
    shape = (n_presentations, n_units) if times is None else (n_presentations, times, n_units)
    kwargs.setdefault("unit", {"unit": list("abcdefgh")[:n_units], "area": ["V1", "V1", "IT"] * 2})
    if not callable(kwargs["unit"]):
        kwargs["unit"] = {k: v[:n_units] for k, v in kwargs["unit"].items()}
    if times is not None:
        kwargs.setdefault("time", np.arange(times) / 10)
    kwargs.setdefault("presentation", {"stimulus": np.array(["x", "y", "z"] * 2)[:n_presentations]})
    return Recording.from_array(rng.normal(size=shape), **kwargs)


class TestRefuses:
    """What cannot be a recording is refused with what is wrong and what to do."""

    def test_duplicate_units(self):
        with pytest.raises(InvalidRecording, match=r"unit ids are given more than once: 'a'"):
            Recording.from_array(np.zeros((2, 3)), unit=["a", "b", "a"])

    def test_duplicate_presentations(self):
        with pytest.raises(InvalidRecording, match="presentation ids are given more than once"):
            Recording.from_array(np.zeros((2, 3)), presentation=[1, 1])

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_missing_values_name_unit_and_presentation(self, bad):
        values = np.zeros((3, 4))
        values[1, 2] = bad
        with pytest.raises(InvalidRecording, match=r"units 'u2' and presentations 1.*drop_units"):
            Recording.from_array(values)

    def test_missing_ids(self):
        with pytest.raises(InvalidRecording, match="NaN or infinity"):
            Recording.from_array(np.zeros((2, 2)), unit=[1.0, np.nan])
        with pytest.raises(InvalidRecording, match="empty text"):
            Recording.from_array(np.zeros((2, 2)), unit=["a", ""])

    @pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
    def test_nothing_in_it(self, shape):
        with pytest.raises(InvalidRecording, match="nothing in it"):
            Recording.from_array(np.zeros(shape))

    def test_mismatched_labels(self):
        with pytest.raises(InvalidRecording, match=r"'stimulus' has 3 entries.*have 2"):
            Recording.from_array(np.zeros((2, 2)), presentation={"stimulus": ["a", "b", "c"]})

    def test_labels_of_mixed_kind(self):
        with pytest.raises(InvalidRecording, match="mixes text with other things, such as 3"):
            Recording.from_array(np.zeros((2, 2)), unit=np.array(["a", 3], dtype=object))

    def test_labels_that_are_no_labels(self):
        with pytest.raises(InvalidRecording, match="complex128"):
            Recording.from_array(np.zeros((2, 2)), unit=np.array([1j, 2j]))
        with pytest.raises(InvalidRecording, match="one-dimensional"):
            Recording.from_array(np.zeros((2, 2)), unit={"pos": np.zeros((2, 2))})

    @pytest.mark.parametrize("times", [[0, 1, 1], [0, 2, 1], [0, np.nan, 1]])
    def test_times_that_do_not_rise(self, times):
        with pytest.raises(InvalidRecording, match="times must rise"):
            Recording.from_array(np.zeros((2, 3, 2)), time=times)

    def test_shapes_and_times_that_do_not_fit(self):
        with pytest.raises(InvalidRecording, match="their shape is"):
            Recording.from_array(np.zeros(3))
        with pytest.raises(InvalidRecording, match="need their times"):
            Recording.from_array(np.zeros((2, 3, 2)))
        with pytest.raises(InvalidRecording, match="no time"):
            Recording.from_array(np.zeros((2, 3)), time=[0, 1, 2])
        with pytest.raises(InvalidRecording, match="3 samples"):
            Recording.from_array(np.zeros((2, 3, 2)), time=[0, 1])

    def test_wrong_arrays(self, unchecked_types):
        with pytest.raises(InvalidRecording, match="wraps an xarray"):
            Recording(np.zeros((2, 2)))
        with pytest.raises(InvalidRecording, match="dimensions are"):
            Recording(xr.DataArray(np.zeros((2, 2)), dims=("trial", "unit")))
        with pytest.raises(InvalidRecording, match="real numbers"):
            Recording.from_array(np.zeros((2, 2), dtype=complex))
        with pytest.raises(InvalidRecording, match="'time' in seconds"):
            Recording(xr.DataArray(np.zeros((2, 2, 2)), dims=("presentation", "time", "unit")))

    def test_coordinates_that_are_not_flat(self):
        stacked = xr.DataArray(np.zeros((2, 4)), dims=("presentation", "unit")).assign_coords(
            xr.Coordinates.from_pandas_multiindex(
                pd.MultiIndex.from_product([["a", "b"], [0, 1]], names=["area", "n"]), "unit"
            )
        )
        with pytest.raises(InvalidRecording, match="multi-index"):
            Recording(stacked)
        scalar = xr.DataArray(np.zeros((2, 2)), dims=("presentation", "unit"), coords={"s": 1})
        with pytest.raises(InvalidRecording, match="along one of"):
            Recording(scalar)

    def test_ids_along_the_wrong_dimension(self):
        data = xr.DataArray(
            np.zeros((2, 2)), dims=("presentation", "unit"), coords={"stimulus": ("unit", [0, 1])}
        )
        with pytest.raises(InvalidRecording, match="'stimulus' must lie along 'presentation'"):
            Recording(data)

    def test_coordinates_of_both(self):
        with pytest.raises(InvalidRecording, match="share 'x'"):
            Recording.from_array(np.zeros((2, 2)), unit={"x": [1, 2]}, presentation={"x": [1, 2]})

    def test_unknown_option_for_missing(self, unchecked_types):
        with pytest.raises(InvalidArgument, match="'drop'"):
            Recording.from_array(np.zeros((2, 2)), missing="drop")

    def test_change_in_place(self):
        with pytest.raises(AttributeError, match="never changed in place"):
            make().measured_in = "mV"


TABLE = {"unit": ["a", "b", "c"], "area": ["V1", "V1", "IT"]}


class TestLabelsMadeLater:
    """Labels of units that a function makes are those of a table, made once, when asked for."""

    def test_made_when_asked_for_and_once(self):
        asked = []
        recording = make(times=4, unit=lambda: asked.append(1) or TABLE)
        assert recording.shape == recording.to_torch().shape == (6, 4, 3)
        assert recording.stimuli[0] == "x"
        assert len(recording.presentations) == 6
        assert "3 units" in repr(recording)
        assert not asked
        assert recording.units.index.tolist() == ["a", "b", "c"]
        assert recording.select(area="IT").n_units == 1
        assert asked == [1]

    @pytest.mark.parametrize("times", [None, 4])
    def test_the_same_as_with_a_table(self, times):
        now, later = (make(times=times, unit=u) for u in (TABLE, lambda: TABLE))
        assert later.identical(now)
        assert pickle.loads(pickle.dumps(later)).identical(now)
        assert make(times=times, unit=lambda: TABLE).content_hash() == now.content_hash()

    def test_lazy_values(self):
        values = make().chunk().data.data
        assert Recording.from_array(values, unit=lambda: TABLE).load().n_units == 3

    def test_missing_values_are_found_at_once_and_named(self):
        values = np.array([[0, np.nan, 1.0]])
        with pytest.raises(InvalidRecording, match="units 'b'"):
            Recording.from_array(values, unit=lambda: TABLE)
        kept = Recording.from_array(values, unit=lambda: TABLE, missing="drop_units")
        assert kept.units.index.tolist() == ["a", "c"]

    def test_wrong_labels_are_refused_when_asked_for(self):
        with pytest.raises(InvalidRecording, match="more than once"):
            Recording.from_array(np.eye(2), unit=lambda: {"unit": ["a", "a"]}).units  # noqa: B018
        with pytest.raises(InvalidRecording, match="share 'stimulus'"):
            Recording.from_array(np.eye(2), unit=lambda: {"stimulus": [1, 2]}).units  # noqa: B018


class TestMissing:
    def test_drop_units_or_presentations(self):
        values = np.arange(12.0).reshape(3, 4)
        values[1, 2] = np.nan
        assert Recording.from_array(values, missing="drop_units").shape == (3, 3)
        assert Recording.from_array(values, missing="drop_presentations").shape == (2, 4)

    def test_nothing_left(self):
        with pytest.raises(InvalidRecording, match="nothing would be left"):
            Recording.from_array(np.full((2, 2), np.nan), missing="drop_units")

    def test_lazy_values_are_checked_when_computed(self):
        da = pytest.importorskip("dask.array")
        values = np.ones((4, 3))
        values[0, 0] = np.nan
        lazy = Recording.from_array(da.from_array(values, chunks=2))
        with pytest.raises(InvalidRecording, match="NaN"):
            _ = lazy.values
        assert lazy.load(missing="drop_units").shape == (4, 2)
        with pytest.raises(InvalidArgument, match="load"):
            Recording.from_array(da.from_array(values, chunks=2), missing="drop_units")


class TestMeasuredIn:
    @pytest.mark.parametrize("unit", ["mV", "spikes/s", "dF/F", "uV^2/Hz", "pA", "a.u.", None, "%"])
    def test_known(self, unit):
        assert make(measured_in=unit).measured_in == unit

    @pytest.mark.parametrize("unit", ["mVV", "millivolts", "", "spikes//s", "V/"])
    def test_unknown(self, unit):
        with pytest.raises(InvalidArgument, match="no unit of measurement"):
            make(measured_in=unit)

    def test_an_operation_sets_or_clears_it(self):
        r = make(measured_in="mV")
        assert r.with_values(r.values**2).measured_in is None
        assert r.with_values(r.values**2, measured_in="mV^2").measured_in == "mV^2"
        assert r.average_repeats().measured_in == "mV"
        with pytest.raises(InvalidRecording, match="shape"):
            r.with_values(np.zeros((1, 1)))


class TestTime:
    def test_rate_is_derived(self):
        r = make(times=5)
        assert r.sampling_rate == pytest.approx(10)
        every_second = Recording(r.data.isel(time=slice(None, None, 2)))
        assert every_second.sampling_rate == pytest.approx(5)

    def test_uneven_or_single(self):
        with pytest.raises(InvalidRecording, match="uneven"):
            _ = make(times=3, time=[0, 0.1, 0.5]).sampling_rate
        with pytest.raises(InvalidRecording, match="one sample"):
            _ = make(times=1).sampling_rate
        with pytest.raises(InvalidRecording, match="no time dimension"):
            _ = make().times

    def test_mean_time(self):
        r = make(times=5)
        np.testing.assert_allclose(r.mean_time((0.1, 0.2)).values, r.values[:, 1:3].mean(1))
        assert not r.mean_time().has_time
        with pytest.raises(InvalidRecording, match="average over"):
            make().mean_time()


class TestSelect:
    def test_by_label_list_range_and_function(self):
        r = make(times=5)
        assert r.select(area="V1").n_units == 2
        assert r.select(stimulus=["x", "z"]).n_presentations == 4
        assert len(r.select(time=slice(0.1, 0.3)).times) == 3
        assert len(r.select(time=slice(None, 0.1)).times) == 2
        assert r.select(unit=lambda ids: ids > "a").n_units == 2

    def test_several_at_once(self):
        part = make().select(area="V1", stimulus="y")
        assert part.shape == (2, 2)

    def test_errors_say_what_there_is(self):
        with pytest.raises(UnknownName, match="'area'"):
            make().select(aera="V1")
        with pytest.raises(InvalidArgument, match="'IT', 'V1'"):
            make().select(area="V4")
        with pytest.raises(InvalidArgument, match="nothing has unit=3"):
            make().select(unit=3)
        with pytest.raises(InvalidArgument, match="at once"):
            make().select(area="V1", unit="c")
        with pytest.raises(InvalidArgument, match="no step"):
            make(times=3).select(time=slice(0, 1, 2))

    def test_split(self):
        parts = make().split("area")
        assert list(parts) == ["V1", "IT"]
        assert [p.n_units for p in parts.values()] == [2, 1]
        assert list(make().split("stimulus")) == ["x", "y", "z"]

    def test_stimuli_in_a_given_order(self):
        r = make()
        part = r.select_stimuli(["z", "x"])
        assert part.stimuli.tolist() == ["z", "z", "x", "x"]
        np.testing.assert_array_equal(part.values, r.values[[2, 5, 0, 3]])
        with pytest.raises(UnknownName, match="no stimulus 'q'"):
            r.select_stimuli(["q"])


class TestRepeats:
    def test_average(self):
        r = make(presentation={"stimulus": list("xyzxyz"), "size": [1, 2, 3, 1, 2, 3],
                               "trial": range(6)})  # fmt: skip
        mean = r.average_repeats()
        np.testing.assert_allclose(mean.values, (r.values[:3] + r.values[3:]) / 2)
        assert mean.presentations["size"].tolist() == [1, 2, 3]
        assert mean.presentations["n_repeats"].tolist() == [2, 2, 2]
        assert "trial" not in mean.presentations

    @given(st.lists(st.sampled_from("pqr"), min_size=1, max_size=12), st.integers(0, 99))
    def test_average_keeps_the_weighted_mean(self, stimuli, seed):
        values = np.random.default_rng(seed).normal(size=(len(stimuli), 2))
        mean = Recording.from_array(values, presentation={"stimulus": stimuli}).average_repeats()
        weights = mean.presentations["n_repeats"].to_numpy()
        np.testing.assert_allclose(weights @ mean.values, values.sum(0), atol=1e-12)
        assert mean.stimuli.tolist() == list(dict.fromkeys(stimuli))

    def test_lazy_average_is_the_same(self):
        pytest.importorskip("dask")
        r = make(times=4)
        lazy = r.chunk(presentation=2).average_repeats()
        assert lazy.data.chunks is not None
        np.testing.assert_array_equal(lazy.values, r.average_repeats().values)

    def test_halves(self):
        r = make(n_presentations=6, presentation={"stimulus": list("xxxyyy")})
        for a, b in r.split_halves(5, seed=1):
            assert a.presentations["n_repeats"].tolist() == [1, 1]
            assert b.presentations["n_repeats"].tolist() == [2, 2]
            total = a.values * 1 + b.values * 2
            np.testing.assert_allclose(total, 3 * r.average_repeats().values)

    def test_halves_depend_on_the_seed_alone(self):
        r = make(n_presentations=6, presentation={"stimulus": list("xxxyyy")})
        once = r.split_halves(3, seed=1)
        np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
        again = r.split_halves(3, seed=1)
        assert all(
            a.identical(c) and b.identical(d) for (a, b), (c, d) in zip(once, again, strict=True)
        )

    def test_halves_need_repeats(self):
        with pytest.raises(NotIdentifiable, match="shown only once: 'b'"):
            make(3, presentation={"stimulus": ["a", "a", "b"]}).split_halves(seed=0)


class TestConcat:
    def test_along_presentations_matches_units_by_id(self):
        a = make()
        b = Recording(a.data.isel(unit=[2, 0, 1]))
        both = a.concat(b, along="presentation", keys=["m", "n"])
        np.testing.assert_array_equal(both.values, np.concatenate([a.values, a.values]))
        assert both.presentations["part"].tolist() == ["m"] * 6 + ["n"] * 6

    def test_along_units(self):
        a = make()
        b = a.assign(unit=list("def"))
        both = a.concat(b, along="unit")
        assert both.shape == (6, 6)
        assert both.select(unit="d").values.ravel() == pytest.approx(a.values[:, 0])

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda r: Recording(r.data, measured_in="mV"), "measured in"),
            (lambda r: r.assign(unit=list("xyz")), "do not have the same units"),
            (lambda r: r.assign(area=("unit", ["V1", "V2", "IT"])), "'area' differs"),
            (lambda r: r.assign(block=("presentation", np.arange(6))), "'block' is in only one"),
            (lambda r: r.assign(stimulus=np.arange(6)), "is text in only one"),
            (lambda r: r, "give keys="),
        ],
    )
    def test_what_must_agree_along_presentations(self, change, match):
        a = make()
        with pytest.raises(InvalidRecording, match=match):
            a.concat(change(a), along="presentation")

    def test_what_must_agree_along_units(self, unchecked_types):
        a = make(times=4)
        with pytest.raises(InvalidRecording, match="same stimuli in the same order"):
            a.concat(Recording(a.data.isel(presentation=[1, 0, 2, 3, 4, 5])), along="unit")
        with pytest.raises(InvalidRecording, match="times differ"):
            a.concat(make(times=3), along="unit")
        with pytest.raises(InvalidRecording, match="only some"):
            a.concat(make(), along="unit")
        with pytest.raises(InvalidRecording, match="distinct keys"):
            a.concat(a, along="unit", keys=["k", "k"])
        with pytest.raises(UnknownName, match="presentation"):
            a.concat(a, along="time")

    def test_extra_coordinates_of_the_other_do_not_come_along(self):
        a = make()
        b = a.assign(unit=list("def"), trial=("presentation", np.arange(6)))
        assert "trial" not in a.concat(b, along="unit").presentations

    def test_sessions_are_joined(self):
        one = pd.DataFrame({"rig": ["A"]}, index=["s1"])
        two = pd.DataFrame({"rig": ["B"]}, index=["s2"])
        a = make().assign(session=("presentation", ["s1"] * 6))
        b = make().assign(session=("presentation", ["s2"] * 6))
        both = Recording(a.data, sessions=one).concat(
            Recording(b.data, sessions=two), along="presentation", keys=["1", "2"]
        )
        assert both.coordinate("rig").tolist() == ["A"] * 6 + ["B"] * 6
        assert both.select(rig="B").n_presentations == 6
        clash = pd.DataFrame({"rig": ["C"]}, index=["s1"])
        with pytest.raises(InvalidRecording, match="disagree"):
            Recording(a.data, sessions=one).concat(
                Recording(a.data, sessions=clash), along="presentation", keys=["1", "2"]
            )


class TestAlign:
    def test_by_stimulus(self):
        a = make(3, presentation={"stimulus": ["x", "y", "z"]})
        b = make(4, seed=1, presentation={"stimulus": ["z", "q", "x", "z"]})
        left, right = a.align(b)
        assert left.stimuli.tolist() == ["x", "z"]
        assert right.stimuli.tolist() == ["x", "z", "z"]
        np.testing.assert_array_equal(right.values, b.values[[2, 0, 3]])

    def test_units_by_name_across_animals(self):
        a = make().assign(unit=["1/AVA", "1/RIB", "1/SMD"], name=("unit", ["AVA", "RIB", "SMD"]))
        b = make(seed=1).assign(unit=["2/SMD", "2/AVA", "2/ASH"],
                                name=("unit", ["SMD", "AVA", "ASH"]))  # fmt: skip
        left, right = a.align(b, units=True)
        assert left.units["name"].tolist() == right.units["name"].tolist() == ["AVA", "SMD"]
        by_stimulus = [0, 3, 1, 4, 2, 5]
        np.testing.assert_array_equal(right.values, b.values[by_stimulus][:, [1, 0]])

    def test_nothing_shared(self):
        a, b = make(), make(presentation={"stimulus": np.arange(6)})
        with pytest.raises(InvalidRecording, match="share no stimulus"):
            a.align(b)
        with pytest.raises(InvalidRecording, match="share no unit"):
            a.align(make().assign(unit=list("xyz")), units=True)
        twice = make().assign(name=("unit", ["n", "n", "m"]))
        with pytest.raises(InvalidRecording, match="repeats"):
            twice.align(twice, units=True)


class TestSessions:
    def test_one_session_needs_no_coordinate(self):
        r = Recording(make().data, sessions=pd.DataFrame({"subject": ["m1"]}, index=["s"]))
        assert r.coordinate("subject").tolist() == ["m1"] * 3
        assert "subject" in r.coordinate_names("unit")
        assert r.select(subject="m1").n_units == 3

    @pytest.mark.parametrize(
        ("table", "match"),
        [
            (pd.DataFrame({"a": [1, 2]}), "no coordinate 'session'"),
            (pd.DataFrame({"area": [1]}), "repeat coordinates"),
            (pd.DataFrame({"a": [1, 2]}, index=["s", "s"]), "one row for each"),
        ],
    )
    def test_refused_tables(self, table, match):
        with pytest.raises(InvalidRecording, match=match):
            Recording(make().data, sessions=table)

    def test_unknown_session(self):
        data = make().assign(session=("unit", ["s1", "s1", "s2"])).data
        with pytest.raises(InvalidRecording, match="no row for 's2'"):
            Recording(data, sessions=pd.DataFrame({"a": [1]}, index=["s1"]))


class TestOthers:
    def test_torch_in_and_out(self):
        tensor = torch.arange(6.0).reshape(3, 2).to(torch.bfloat16)
        r = Recording.from_array(tensor.requires_grad_())
        assert r.data.dtype == np.float32
        out = r.to_torch(dtype=torch.float64)
        out[0, 0] = 99  # a copy
        assert r.values[0, 0] == 0

    def test_chunk_names_dimensions(self):
        pytest.importorskip("dask")
        assert make().chunk().data.chunks is not None
        with pytest.raises(UnknownName, match="presentation"):
            make().chunk(trial=2)

    def test_assign_and_drop(self):
        r = make().assign(depth=("unit", [1.0, 2.0, 3.0]))
        assert r.drop("depth").identical(make())
        with pytest.raises(InvalidArgument, match="cannot be left out"):
            r.drop("stimulus")
        with pytest.raises(UnknownName):
            r.drop("dpth")
        with pytest.raises(UnknownName, match="dimension"):
            r.assign(x=("units", [1, 2, 3]))
        with pytest.raises(InvalidRecording, match="2 entries"):
            r.assign(area=["V1", "V2"])

    def test_frames_as_labels(self):
        units = pd.DataFrame({"area": ["V1", "V2"]}, index=pd.Index(["p", "q"], name="unit"))
        r = Recording.from_array(np.zeros((1, 2)), unit=units)
        assert r.units.index.tolist() == ["p", "q"]
        again = Recording.from_array(r.values, unit=r.units, presentation=r.presentations)
        assert again.identical(r)

    def test_one_label_for_all(self):
        r = Recording.from_array(np.zeros((2, 2)), unit={"area": "V1"})
        assert r.units["area"].tolist() == ["V1", "V1"]

    def test_identity_and_hash(self):
        r = make(times=3)
        same = pickle.loads(pickle.dumps(r))
        assert r.identical(same)
        assert r.content_hash() == same.content_hash()
        assert r.content_hash() != r.named("x").with_values(r.values + 1).content_hash()
        assert r.content_hash() != r.assign(area=["V1", "V2", "IT"]).content_hash()
        assert not r.identical(r.named("other"))
        assert not r.identical(make(times=3, seed=1))
        assert not r.identical("r")
        narrow = Recording.from_array(r.values.astype(np.float32), time=r.times)
        assert not narrow.identical(narrow.with_values(narrow.values.astype(float)))
        with_session = Recording(r.data, sessions=pd.DataFrame({"a": [1]}))
        assert not r.identical(with_session)
        assert with_session.identical(with_session.load())

    def test_hash_does_not_depend_on_label_width(self):
        r = make()
        wide = Recording(r.data.assign_coords(area=("unit", np.array(["V1", "V1", "IT"], "<U40"))))
        assert r.content_hash() == wide.content_hash()

    def test_it_can_be_looked_at(self):
        from rich.console import Console

        r = make(times=2, measured_in="mV").assign(evil=("unit", ["<script>", "[red]", "&"]))
        assert "in mV" in repr(r)
        assert "<script>" not in r._repr_html_()
        console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(r)
        assert "[red]" in console.export_text()

    def test_unknown_coordinate(self):
        with pytest.raises(UnknownName, match="nearest"):
            make().coordinate("stim")

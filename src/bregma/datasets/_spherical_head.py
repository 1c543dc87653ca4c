"""What a current dipole in a conducting sphere makes outside: potential and magnetic field."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument

MU0_OVER_4PI = 1e-7  # T m / A


def sphere_potential(
    electrodes: Float[np.ndarray, "electrode 3"],
    dipoles: Float[np.ndarray, "dipole 3"],
    *,
    radius: float = 0.09,
    conductivity: float = 0.33,
) -> Float[np.ndarray, "electrode dipole 3"]:
    """Potential on a homogeneous conducting sphere of a unit dipole along x, y and z.

    Against a reference at infinity, which is the mean over the whole sphere.

    Parameters
    ----------
    electrodes : Float[np.ndarray, "electrode 3"]
        Places around the centre; each is moved along its radius onto the sphere.
    dipoles : Float[np.ndarray, "dipole 3"]
        Places inside the sphere, in metres from its centre.
    radius : float
        Of the sphere, in metres.
    conductivity : float
        In S/m.

    Returns
    -------
    Float[np.ndarray, "electrode dipole 3"]
        Volts per A m.

    Raises
    ------
    InvalidArgument
        If a dipole is not inside, or an electrode is at the centre.

    References
    ----------
    Brody, Terry and Ideker (1973), Eccentric dipole in a spherical medium.

    Examples
    --------
    >>> top, centre = np.array([[0, 0, 0.09]]), np.zeros((1, 3))
    >>> sphere_potential(top, centre).round(2).tolist()  # 3 / (4 pi sigma R^2) along z
    [[[0.0, 0.0, 89.31]]]
    """
    _check(dipoles, radius)
    length = np.linalg.norm(electrodes, axis=1, keepdims=True)
    if not (length > 0).all():
        raise InvalidArgument("an electrode at the centre of the sphere has no direction")
    r = (radius * electrodes / length)[:, None]
    d = r - dipoles
    distance = np.linalg.norm(d, axis=-1, keepdims=True)
    # The gradient over the dipole's place of 2/d - log(R^2 - r.r0 + R d)/R, the closed form of
    # sum_n (2n + 1)/n r0^n / R^(n + 1) P_n: no term is singular for a dipole at the centre.
    nearness = radius**2 - (r * dipoles).sum(-1, keepdims=True) + radius * distance
    gradient = 2 * d / distance**3 + (r + radius * d / distance) / (radius * nearness)
    return gradient / (4 * np.pi * conductivity)


def sphere_field(
    points: Float[np.ndarray, "point 3"],
    dipoles: Float[np.ndarray, "dipole 3"],
) -> Float[np.ndarray, "point dipole 3 3"]:
    """Magnetic field outside a conducting sphere of a unit dipole along x, y and z.

    Neither the radius nor the conductivities of concentric shells matter, and a radial dipole
    is silent.

    Parameters
    ----------
    points : Float[np.ndarray, "point 3"]
        Places outside, in metres from the centre of the sphere.
    dipoles : Float[np.ndarray, "dipole 3"]
        Places inside, in metres.

    Returns
    -------
    Float[np.ndarray, "point dipole 3 3"]
        Tesla per A m: direction of the dipole, then component of the field.

    Raises
    ------
    InvalidArgument
        If a dipole is not nearer to the centre than every point.

    References
    ----------
    Sarvas (1987), Basic mathematical and electromagnetic concepts of the biomagnetic inverse
    problem.

    Examples
    --------
    >>> place, dipole = np.array([[0.0, 0.0, 0.12]]), np.array([[0.0, 0.0, 0.07]])
    >>> bool(np.abs(sphere_field(place, dipole)[0, 0, 2]).max() == 0)  # radial
    True
    """
    _check(dipoles, float(np.linalg.norm(points, axis=1).min()))
    r, r0 = points[:, None, :], dipoles[None, :, :]
    a_vector = r - r0
    a = np.linalg.norm(a_vector, axis=-1, keepdims=True)
    length = np.linalg.norm(r, axis=-1, keepdims=True)
    a_dot_r = (a_vector * r).sum(-1, keepdims=True)
    f = a * (length * a + length**2 - (r0 * r).sum(-1, keepdims=True))
    gradient = (a**2 / length + a_dot_r / a + 2 * a + 2 * length) * r
    gradient = gradient - (a + 2 * length + a_dot_r / a) * r0
    turned = np.cross(np.eye(3), dipoles[:, None, :])[None]  # q x r0: (1, dipole, direction, 3)
    along = (turned * r[:, :, None, :]).sum(-1, keepdims=True)
    f = f[:, :, None, :]
    return MU0_OVER_4PI * (f * turned - along * gradient[:, :, None, :]) / f**2


def _check(dipoles: Float[np.ndarray, "dipole 3"], radius: float) -> None:
    """Refuse dipoles outside of the conductor."""
    deepest = np.linalg.norm(dipoles, axis=1).max(initial=0.0)
    if not deepest < radius:
        raise InvalidArgument(
            f"a dipole {deepest:.4g} m from the centre is not inside a sphere of {radius:.4g} m; "
            "places are in metres from the centre of the sphere"
        )

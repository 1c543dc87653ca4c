"""Two-compartment pyramidal cell of Pinsky and Rinzel."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def pinsky_rinzel(**params: Any) -> Neuron:
    """Pyramidal cell of CA3 with a soma and a dendrite, which bursts by calcium in the dendrite.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: C = 3 uF/cm², conductances (mS/cm²) g_L = 0.1, g_Na = 30,
        g_K = 15, g_Ca = 10, g_AHP = 0.8, g_KC = 15 and g_c = 2.1 (between compartments), reversal
        potentials E_L = -60 mV, E_Na = 60 mV, E_Ca = 80 mV, E_K = -75 mV, and the share of the
        soma p = 0.5.

    Returns
    -------
    Neuron
        With the variables ``v`` (soma) and ``v_d`` (dendrite, both V), the gates ``h``, ``n``,
        ``s``, ``c``, ``q``, the calcium ``Ca`` (a plain number, as in the paper), and inputs ``I``
        and ``I_d`` (A/m² of the whole cell). A spike is counted when v passes -20 mV.

    References
    ----------
    Pinsky and Rinzel (1994), J. Comput. Neurosci. 1:39, with the corrections in 2:275. Voltages
    of the paper count from -60 mV.
    """
    values = {
        "C": "3 uF/cm**2", "g_L": "0.1 mS/cm**2", "g_Na": "30 mS/cm**2", "g_K": "15 mS/cm**2",
        "g_Ca": "10 mS/cm**2", "g_AHP": "0.8 mS/cm**2", "g_KC": "15 mS/cm**2",
        "g_c": "2.1 mS/cm**2", "E_L": "-60 mV", "E_Na": "60 mV", "E_Ca": "80 mV", "E_K": "-75 mV",
        "p": 0.5,
    }  # fmt: skip
    return Neuron(
        """dv/dt = (I_soma + g_c*(v_d - v)/p + I/p)/C : volt
           dv_d/dt = (I_dendrite + g_c*(v - v_d)/(1 - p) + I_d/(1 - p))/C : volt
           I_soma = g_L*(E_L - v) + g_Na*m**2*h*(E_Na - v) + g_K*n*(E_K - v) : amp/meter**2
           I_dendrite = g_L*(E_L - v_d) + I_Ca + (g_AHP*q + g_KC*c*chi)*(E_K - v_d) : amp/meter**2
           I_Ca = g_Ca*s**2*(E_Ca - v_d) : amp/meter**2

           x = (v + 60*mV)/mV : 1
           y = (v_d + 60*mV)/mV : 1
           m = alpha_m/(alpha_m + beta_m) : 1
           dh/dt = alpha_h*(1 - h) - beta_h*h : 1
           dn/dt = alpha_n*(1 - n) - beta_n*n : 1
           ds/dt = alpha_s*(1 - s) - beta_s*s : 1
           dc/dt = alpha_c*(1 - c) - beta_c*c : 1
           dq/dt = alpha_q*(1 - q) - q/(1000*ms) : 1
           dCa/dt = (0.13*I_Ca/(uA/cm**2) - 0.075*Ca)/ms : 1
           chi = min(Ca/250, 1) : 1

           alpha_m = 1.28/exprel((13.1 - x)/4)/ms : Hz
           beta_m = 1.4/exprel((x - 40.1)/5)/ms : Hz
           alpha_h = 0.128*exp((17 - x)/18)/ms : Hz
           beta_h = 4/(1 + exp((40 - x)/5))/ms : Hz
           alpha_n = 0.08/exprel((35.1 - x)/5)/ms : Hz
           beta_n = 0.25*exp(0.5 - 0.025*x)/ms : Hz
           alpha_s = 1.6/(1 + exp(-0.072*(y - 65)))/ms : Hz
           beta_s = 0.1/exprel((y - 51.1)/5)/ms : Hz
           fast = 2*exp((6.5 - y)/27)/ms : Hz
           alpha_c = where(y <= 50, exp((y - 10)/11 - (y - 6.5)/27)/18.975/ms, fast) : Hz
           beta_c = where(y <= 50, fast - alpha_c, 0) : Hz
           alpha_q = min(0.00002*Ca, 0.01)/ms : Hz
           I : amp/meter**2 (input)
           I_d : amp/meter**2 (input)""",
        spike="v > -20*mV",
        refractory="v > -20*mV",
        params=values,
        init={"v": "-64.6 mV", "v_d": "-64.5 mV", "h": 0.999, "n": 0.001, "s": 0.009, "c": 0.007,
              "q": 0.01, "Ca": 0.2},
    ).with_params(**params)  # fmt: skip

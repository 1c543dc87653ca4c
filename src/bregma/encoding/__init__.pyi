from ._attention_readout import AttentionReadout as AttentionReadout
from ._factorised_readout import FactorisedReadout as FactorisedReadout
from ._token_regressor import TokenRegressor as TokenRegressor
from ._patch_tokens import patch_tokens as patch_tokens
from ._positions import sine_positions as sine_positions
from ._blend import blend as blend

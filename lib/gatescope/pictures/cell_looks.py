"""Names and colours of the five cells of Zhang et al. 2018 in every figure."""

# Pooled (a), input attention (b), input-gate attention (c), output-gate attention (d).
TITLES = {"convlstm": "ConvLSTM", "a": "(a)", "b": "(b)", "c": "(c)", "d": "(d)"}
COLOURS = dict(zip(TITLES, ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"), strict=True))

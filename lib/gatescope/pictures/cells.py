"""How the five cells of Zhang et al. 2018 are named and coloured in every figure."""

TITLES = {"convlstm": "ConvLSTM", "a": "(a)", "b": "(b)", "c": "(c)", "d": "(d)"}
COLOURS = dict(zip(TITLES, ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"), strict=True))

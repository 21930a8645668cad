"""How fine-tuning works: a chapter, to be read in the order of its files.

model       a network is a list of named stages; surgery edits the list and returns a copy
profiles    which stages learn, at which rate, and how the rates change in time
losses      what is minimised
loop        the textbook's loop, with validation
training    `fit` and `train`: the loop, its settings and its monitors
monitors    stop early, keep the best weights, go on after a kill
records     what a run and an evaluation leave behind
features    the frozen part runs once and is kept
evaluation  probabilities become metrics with intervals
statistics  intervals and tests, as functions of arrays
lr_search   which learning rate?
"""

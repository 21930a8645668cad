"""The notebooks that a command means when none is named; nothing is imported here, so that every room can know them."""

START = "00_start_here"  # the lesson that JupyterLab opens at
MAIN = "14_your_own_images"  # the one that runs with a learner's own data

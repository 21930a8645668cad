"""Wrong answers to the exercises of lesson 06, and words of the sentence that each must get."""


def thaw_only(model, epoch):
    stages = [stage for stage in model.children() if [*stage.parameters()]]
    for stage in stages[-1 - epoch :]:
        stage.requires_grad_(True)


def count_all(model, epoch):
    for place, stage in enumerate(reversed(list(model.children()))):
        stage.requires_grad_(place <= epoch)


def first_stages(model, epoch):
    for place, (_, stage) in enumerate(model.named_children()):
        stage.requires_grad_(place <= epoch)


def weights_only(model, epoch):  # every bias goes on learning
    stages = [stage for stage in model.children() if [*stage.parameters()]]
    for place, stage in enumerate(reversed(stages)):
        for name, p in stage.named_parameters():
            p.requires_grad_(place <= epoch or not name.endswith("weight"))


def names_by_heart(model, epoch):  # of one network
    for place, name in enumerate(("head", "neck", *(f"layer{i}" for i in range(7, 0, -1)), "stem")):
        model.get_submodule(name).requires_grad_(place <= epoch)


def one_rate(optimizer, factor):
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * factor


def compound(optimizer, factor):
    for group in optimizer.param_groups:
        group["lr"] *= factor


def first_group(optimizer, factor):
    group = optimizer.param_groups[0]
    group["lr"] = group["initial_lr"] * factor


ANSWERS = [
    ("answers_left", 0.0, "head's own rate"),
    ("answers_left", 39.6, "a tenth"),
    ("answers_left", 12.5, "was lost"),
    ("answers_left", 70, "not the number"),
    ("answers_left", float("nan"), "not the number"),
    ("answers_left", "most", "Asked is a number"),
    ("answers_left", None, "Asked is a number"),
    ("one_stage_more", thaw_only, "until somebody freezes it"),
    ("one_stage_more", count_all, "without weights"),
    ("one_stage_more", first_stages, "not the right stages"),
    ("one_stage_more", weights_only, "until somebody freezes it"),
    ("one_stage_more", names_by_heart, "has no attribute `neck`"),
    ("one_stage_more", lambda *_: 0, "too many stages"),
    ("one_stage_more", "the head", "TypeError"),
    ("keeps_profile", one_rate, "the profile is lost"),
    ("keeps_profile", compound, "what the step before has left"),
    ("keeps_profile", first_group, "do not stand to each other"),
    ("keeps_profile", lambda *_: 0, "what the step before"),
    ("keeps_profile", [1e-3, 1e-4], "TypeError"),
]

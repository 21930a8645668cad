"""Wrong answers to the exercises of lesson 05, and words of the sentence that each must get."""

import copy

import numpy as np
import torch
from torch.nn.functional import cross_entropy


@torch.no_grad()
def new_tensors(parameters, memory, rate):
    for i, w in enumerate(parameters):
        memory[i] = w.grad + 0.9 * memory.get(i, 0)
        w = w - rate * memory[i]


@torch.no_grad()
def forgets(parameters, memory, rate):
    for w in parameters:
        w -= rate * w.grad


@torch.no_grad()
def running_mean(parameters, memory, rate):
    for i, w in enumerate(parameters):
        memory[i] = 0.1 * w.grad + 0.9 * memory.get(i, 0)
        w -= rate * memory[i]


@torch.no_grad()
def one_memory(parameters, memory, rate):
    for w in parameters:
        memory["v"] = w.grad + 0.9 * memory.get("v", 0)
        w -= rate * memory["v"]


@torch.no_grad()
def memory_by_shape(parameters, memory, rate):
    for w in parameters:
        memory[w.shape] = w.grad + 0.9 * memory.get(w.shape, 0)
        w -= rate * memory[w.shape]


@torch.no_grad()
def one_rate(parameters, memory, rate):
    for i, w in enumerate(parameters):
        memory[i] = w.grad + 0.9 * memory.get(i, 0)
        w -= 0.01 * memory[i]


def with_gradients(parameters, memory, rate):
    for w in parameters:
        w -= rate * w.grad


def ruins(net, x, y):
    rates, losses = np.logspace(-4, 2, 60), []
    optimizer = torch.optim.SGD(net.parameters(), lr=1)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        loss = cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return rates, losses


def by_reference(net, x, y):
    before = net.state_dict()
    found = ruins(net, x, y)
    net.load_state_dict(before)
    return found


def parameters_only(net, x, y):
    before = [w.detach().clone() for w in net.parameters()]
    found = ruins(net, x, y)
    for w, old in zip(net.parameters(), before, strict=True):
        w.data = old
    return found


def fresh_statistics(net, x, y):
    found = parameters_only(net, x, y)
    net[0].reset_running_stats()
    return found


def learns_nothing(net, x, y):
    net, rates = copy.deepcopy(net).eval(), np.logspace(-4, 2, 60)
    return rates, [cross_entropy(net(x), y).item() for _ in rates]


ANSWERS = [
    ("rate_of_the_sum", 0.5, "much too long"),
    ("rate_of_the_sum", 100, "other way round"),
    ("rate_of_the_sum", 0.005, "not the number"),
    ("rate_of_the_sum", "small", "Asked is a number"),
    ("steps_like_torch", new_tensors, "No tensor of the list has moved"),
    ("steps_like_torch", forgets, "still empty"),
    ("steps_like_torch", running_mean, "as far as"),
    ("steps_like_torch", one_memory, "must match the size"),
    ("steps_like_torch", memory_by_shape, "as far as"),
    ("steps_like_torch", one_rate, "as far as"),
    ("steps_like_torch", with_gradients, "in-place operation"),
    ("steps_like_torch", lambda parameters, memory, rate: "a step", "No tensor"),
    ("leaves_no_trace", ruins, "The weights are not"),
    ("leaves_no_trace", by_reference, "The weights are not"),
    ("leaves_no_trace", parameters_only, "statistics of BatchNorm"),
    ("leaves_no_trace", fresh_statistics, "statistics of BatchNorm"),
    ("leaves_no_trace", learns_nothing, "never fall"),
    ("leaves_no_trace", lambda net, x, y: 0, "TypeError"),
    ("leaves_no_trace", lambda net, x, y: ([], []), "ValueError"),
]

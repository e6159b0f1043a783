"The random numbers of a run and of a notebook that take turns are those of two processes."
import random

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interactive_runner.guard import Guard
from interactive_runner.hub import MessageHub
from interactive_runner.rng import OwnGenerators, set_seed

DRAWS = {'python': random.random, 'gauss': lambda: random.gauss(0, 1), 'uniform': np.random.random, 'normal': lambda: float(np.random.randn()),
         'torch': lambda: torch.rand(1).item(), 'torch normal': lambda: torch.randn(3).tolist(), 'seed': lambda: set_seed(7),
         'numpy seed': lambda: np.random.seed(3), 'shuffle': lambda: np.random.permutation(5).tolist(), 'nothing': lambda: None}
draws = st.lists(st.sampled_from(sorted(DRAWS)), max_size=4)
turns = st.lists(st.tuples(st.sampled_from(['run', 'notebook']), draws), max_size=12)


def alone(seed, what):
    "What is drawn in a process of its own"
    set_seed(seed)
    return [DRAWS[d]() for d in what]


@settings(max_examples=200, deadline=None)
@given(turns)
def test_what_two_draw_in_turns_is_what_each_draws_alone(turns):
    expected = {who: alone(seed, [d for w,ds in turns if w == who for d in ds]) for who,seed in (('run', 1), ('notebook', 2))}
    set_seed(1); own = OwnGenerators()
    set_seed(2); got = dict(run=[], notebook=[])
    for who,ds in turns:
        if who == 'run': own.swap()
        got[who] += [DRAWS[d]() for d in ds]
        if who == 'run': own.swap()
    assert got == expected


def test_generators_of_another_kind_are_exchanged_too():
    before = np.random.get_bit_generator()
    try:
        own = OwnGenerators()
        np.random.set_bit_generator(np.random.PCG64(5))
        first = np.random.random()
        own.swap(); np.random.random(); own.swap()
        second = np.random.random()
        np.random.set_bit_generator(np.random.PCG64(5))
        assert (first, second) == (np.random.random(), np.random.random())
    finally: np.random.set_bit_generator(before)


def test_a_look_aside_from_inside_and_from_outside_leaves_the_generators_of_both():
    guard = Guard(torch.nn.Linear(1, 1), MessageHub('aside'), seed=1)
    expected = alone(1, ['normal']*3),alone(5, ['normal']*3)
    set_seed(5)
    with guard:
        run = [float(np.random.randn())]
        with guard.aside(), guard: np.random.randn(3), torch.rand(1), random.random()
        run.append(float(np.random.randn()))
    cell = [float(np.random.randn())]
    with guard.aside(), guard: np.random.randn(3)
    cell.append(float(np.random.randn()))
    with guard: run.append(float(np.random.randn()))
    cell.append(float(np.random.randn()))
    assert (run, cell) == expected

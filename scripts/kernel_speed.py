#!/usr/bin/env python3
"""One recurrent step of M1: the trading kernel beside PyTorch, same seeded weights, batch 1, one thread, one run.

Usage: kernel_speed.py PATH/TO/peers [--rounds 7] [--steps 2000]     (peers: benches/peers, built by scripts/bench.sh --peers)

M1 is the network of `peregrine_benches::networks`: dense 32→64 with SiLU, GRU 64→128, two heads 128→32, a head 160→64→8 with
SiLU. The state of one step is the input of the next. PyTorch runs without gradients in three ways: eager, TorchScript frozen
for inference, and torch.compile (where a C++ compiler is there). The programs take turns; each round gives a median, the
least of the medians counts. The outputs of the first steps are held against the kernel's.
"""
import argparse
import subprocess
import sys
import time

try:
    import torch
except ImportError as error:
    sys.exit(print(f"skipped: {error}; install torch", file=sys.stderr) or 3)

INPUTS, ENCODING, HIDDEN, LATENT, HEAD, OUTPUTS = 32, 64, 128, 32, 64, 8


class Numbers:
    """The seeded numbers of the benches (Knuth, Seminumerical Algorithms, 3.2.1)."""

    def __init__(self, seed):
        self.state = seed

    def take(self, shape, bound):
        count = 1
        for size in shape:
            count *= size
        raw = []
        for _ in range(count):
            self.state = (self.state * 1_664_525 + 1_013_904_223) % 2**32
            raw.append(self.state >> 16)
        return ((torch.tensor(raw, dtype=torch.float32) / 32_768.0 - 1.0) * torch.tensor(bound, dtype=torch.float32)).view(shape)


def dense(numbers, inputs, outputs):
    bound = (1.0 / torch.tensor(float(inputs)).sqrt()).item()
    layer = torch.nn.Linear(inputs, outputs)
    weight = numbers.take((outputs, inputs), bound)
    layer.weight.data, layer.bias.data = weight, numbers.take((outputs,), bound)
    return layer


class M1(torch.nn.Module):
    def __init__(self):
        super().__init__()
        numbers = Numbers(12_345)
        self.encoder = dense(numbers, INPUTS, ENCODING)
        self.gru = torch.nn.GRUCell(ENCODING, HIDDEN)
        self.gru.weight_ih.data = numbers.take((3 * HIDDEN, ENCODING), 0.088)
        self.gru.weight_hh.data = numbers.take((3 * HIDDEN, HIDDEN), 0.088)
        self.gru.bias_ih.data = numbers.take((3 * HIDDEN,), 0.088)
        self.gru.bias_hh.data = numbers.take((3 * HIDDEN,), 0.088)
        self.first, self.second = dense(numbers, HIDDEN, LATENT), dense(numbers, HIDDEN, LATENT)
        self.head_0, self.head_2 = dense(numbers, HIDDEN + LATENT, HEAD), dense(numbers, HEAD, OUTPUTS)

    def forward(self, x, h):
        h = self.gru(torch.nn.functional.silu(self.encoder(x)), h)
        joined = torch.cat([h, self.second(h)], 1)
        return self.head_2(torch.nn.functional.silu(self.head_0(joined))), h, self.first(h)


def outputs_of(step, inputs, count):
    h, found = torch.zeros(1, HIDDEN), []
    for x in inputs[:count]:
        y, h, _ = step(x, h)
        h = h.clone()
        found.append(y.clone())
    return torch.cat(found)


def median_ns(step, inputs, steps):
    h, spans = torch.zeros(1, HIDDEN), []
    for index in range(steps):
        x = inputs[index % len(inputs)]
        start = time.perf_counter_ns()
        _, h, _ = step(x, h)
        spans.append(time.perf_counter_ns() - start)
    return sorted(spans)[len(spans) // 2]


def ours(path):
    lines = subprocess.run([path, "ours"], check=True, capture_output=True, text=True).stdout.splitlines()
    return float(lines[0]), torch.tensor([[float(value) for value in line.split()] for line in lines[1:]])


def ways(model, inputs):
    example = (inputs[0], torch.zeros(1, HIDDEN))
    yield "PyTorch, eager", model
    yield "PyTorch, TorchScript", torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, example)))
    try:
        compiled = torch.compile(model)
        compiled(*example)
        yield "PyTorch, torch.compile", compiled
    except Exception as error:  # whatever it says where there is no compiler
        print(f"torch.compile is left out: {str(error).splitlines()[0]}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    numbers = Numbers(7)
    inputs = [numbers.take((1, INPUTS), 2.0) for _ in range(256)]
    with torch.inference_mode():
        named = list(ways(M1().eval(), inputs))
        _, expected = ours(options.peers)
        for name, step in named:
            worst = (outputs_of(step, inputs, len(expected)) - expected).abs().max().item()
            if worst > 1e-4:
                sys.exit(f"{name}: outputs differ from the kernel's by {worst:.1e}")
            print(f"{name}: outputs differ from the kernel's by at most {worst:.1e}", file=sys.stderr)
        rounds = {name: [] for name in ["Peregrine, f32", *(name for name, _ in named)]}
        for _ in range(options.rounds):
            rounds["Peregrine, f32"].append(ours(options.peers)[0])
            for name, step in named:
                rounds[name].append(median_ns(step, inputs, options.steps))
    base = rounds["Peregrine, f32"]
    print(f"torch {torch.__version__}, 1 thread, {options.rounds} rounds of {options.steps} steps\n")
    print("| one recurrent step, M1 | ns, least | ns, median | slower than Peregrine by |\n|---|--:|--:|--:|")
    for name, found in rounds.items():
        ratios = sorted(theirs / mine for theirs, mine in zip(found, base))
        middle = sorted(found)[len(found) // 2]
        print(f"| {name} | {min(found):.0f} | {middle:.0f} | {ratios[len(ratios) // 2]:.1f} |")


if __name__ == "__main__":
    main()

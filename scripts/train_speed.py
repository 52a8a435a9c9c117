#!/usr/bin/env python3
"""Seconds per training step of the world model: peregrine beside PyTorch, same model, losses, batch and length, one run.

Usage: train_speed.py PATH/TO/train_speed [--size micro] [--lanes 32] [--rows 64] [--steps 60] [--rounds 5] [--threads 1 2]

Both sides do a whole step: posterior noise, forward, backward, clipping by the norm of all gradients, AdamW, state carried.
PyTorch is written as one would for speed: encoder, prior, decoder and heads over the whole chunk in one product, the GRU's
and the posterior's products with h joined, an optional TorchScript version of the recurrence (--script).
The two programs take turns; each round gives a median, and the least of the medians counts.
"""
import argparse
import subprocess
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(print(f"skipped: {error}; install torch", file=sys.stderr) or 3)

SIZES = {"nano": (16, 16, 32, 8), "micro": (32, 32, 64, 16), "small": (32, 64, 128, 32), "medium": (64, 128, 256, 32)}
HORIZONS = 4


def recurrence(a, h, noise, joined, bias_hh, weight_ih, bias_ih, z_width: int):
    hs, zs, qs = [], [], []
    width = h.shape[1]
    for step in range(a.shape[0]):
        products = h @ joined
        q = a[step] + products[:, 3 * width :]
        z = q[:, :z_width] + torch.exp(0.5 * q[:, z_width:].clamp(-10.0, 4.0)) * noise[step]
        hs.append(h)
        zs.append(z)
        qs.append(q)
        from_z = z @ weight_ih + bias_ih
        from_h = products[:, : 3 * width] + bias_hh
        gates = torch.sigmoid(from_z[:, : 2 * width] + from_h[:, : 2 * width])
        r, u = gates[:, :width], gates[:, width:]
        n = torch.tanh(from_z[:, 2 * width :] + r * from_h[:, 2 * width :])
        h = n + u * (h - n)
    return torch.stack(hs), torch.stack(zs), torch.stack(qs), h


class World(torch.nn.Module):
    def __init__(self, size, script):
        super().__init__()
        d, e, h, z = SIZES[size]
        self.widths = d, e, h, z
        self.encoder = torch.nn.Sequential(torch.nn.Linear(d, e), torch.nn.SiLU(), torch.nn.Linear(e, e), torch.nn.SiLU())
        self.gru = torch.nn.GRUCell(z, h)
        self.prior = torch.nn.Linear(h, 2 * z)
        self.posterior = torch.nn.Linear(h + e, 2 * z)
        self.heads = torch.nn.Linear(h + z, 2 * HORIZONS + 1)
        self.decoder = torch.nn.Sequential(torch.nn.Linear(h + z, e), torch.nn.SiLU(), torch.nn.Linear(e, d))
        self.recurrence = torch.jit.script(recurrence) if script else recurrence

    def loss(self, x, returns, up, h):
        _, _, width, z_width = self.widths
        noise = torch.randn(*x.shape[:2], z_width)
        e = self.encoder(x)
        a = F.linear(e, self.posterior.weight[:, width:], self.posterior.bias)
        joined = torch.cat([self.gru.weight_hh, self.posterior.weight[:, :width]]).t()
        cell = self.gru
        hs, zs, q, h = self.recurrence(a, h, noise, joined, cell.bias_hh, cell.weight_ih.t(), cell.bias_ih, z_width)
        s = torch.cat([hs, zs], -1)
        reconstruction = (self.decoder(s) - x).square().mean()
        p = self.prior(hs)
        # KL balancing with one KL: the value is unchanged, gradients are shared out.
        q, p = 0.8 * q.detach() + 0.2 * q, 0.2 * p.detach() + 0.8 * p
        log_q, log_p = q[..., z_width:].clamp(-10, 4), p[..., z_width:].clamp(-10, 4)
        distance = q[..., :z_width] - p[..., :z_width]
        kl = 0.5 * ((log_q - log_p).exp() + distance.square() * (-log_p).exp() - (log_q - log_p) - 1).sum(-1)
        heads = self.heads(s)
        log_var = (heads[..., HORIZONS : 2 * HORIZONS] - 18.0).clamp(-40, 10) + 18.0
        nll = 0.5 * (log_var + (returns - heads[..., :HORIZONS]).square() * (-log_var).exp()).mean()
        direction = F.binary_cross_entropy_with_logits(heads[..., -1], up)
        return 16 * reconstruction + kl.clamp_min(1.0).mean() + 4 * nll + direction, h.detach()


def torch_median(arguments):
    torch.manual_seed(1)
    model = World(arguments.size, arguments.script)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    d, _, width, _ = model.widths
    x = torch.randn(arguments.rows, arguments.lanes, d)
    returns = torch.randn(arguments.rows, arguments.lanes, HORIZONS)
    up = torch.randint(0, 2, (arguments.rows, arguments.lanes)).float()
    h, seconds = torch.zeros(arguments.lanes, width), []
    for _ in range(arguments.steps + 3):
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss, h = model.loss(x, returns, up, h)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return sorted(seconds[3:])[arguments.steps // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--size", default="micro", choices=SIZES)
    parser.add_argument("--lanes", type=int, default=32)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--script", action="store_true")
    arguments = parser.parse_args()
    command = [arguments.program, arguments.size, str(arguments.lanes), str(arguments.rows), str(arguments.steps)]
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            done = subprocess.run([*command, str(threads)], check=True, capture_output=True, text=True)
            ours.append(float(done.stdout))
            theirs.append(torch_median(arguments))
        ours, theirs = min(ours), min(theirs)
        print(
            f"{arguments.size}, {arguments.lanes} lanes x {arguments.rows} rows, {threads} thread(s): "
            f"peregrine {1 / ours:.1f} steps/s ({ours * 1e3:.2f} ms), torch {torch.__version__} {1 / theirs:.1f} steps/s "
            f"({theirs * 1e3:.2f} ms), ratio {theirs / ours:.2f}"
        )


if __name__ == "__main__":
    main()

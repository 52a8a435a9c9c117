#!/usr/bin/env python3
"""Trains the LSTM of source 004 in PyTorch and exports it so that peregrine loads it.

Usage: train_lstm_torch.py OUT.safetensors [--rows N] [--epochs N] [--seed N]

The features are a seeded example: an autoregression whose sign moves the next return. Replace `example()` by your own
rows (T x D raw features, T outcomes of 0 or 1) and fill the metadata from your dataset's manifest. Needs torch and
safetensors; without them it says so in one line and ends with status 3.
"""
import argparse
import copy
import json
import sys

try:
    import torch
    from safetensors.torch import save_file
except ImportError as error:
    sys.exit(print(f"skipped: {error}; install torch and safetensors", file=sys.stderr) or 3)

FEATURES = 8
WINDOW_ROWS = 30


class ProductionLSTM(torch.nn.Module):
    """Names of the parameters are the file's tensor names."""

    def __init__(self, inputs, hidden=64, layers=2, dropout=0.3):
        super().__init__()
        self.lstm = torch.nn.LSTM(inputs, hidden, layers, batch_first=True, dropout=dropout)
        self.fc = torch.nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return torch.sigmoid(self.fc(out[:, -1, :])).squeeze(-1)


def example(rows, generator):
    factor, x = torch.zeros(()), torch.empty(rows, FEATURES)
    noise = torch.randn(rows, FEATURES + 2, generator=generator)
    y = torch.empty(rows)
    for row in range(rows):
        factor = 0.9 * factor + 0.44 * noise[row, 0]
        x[row] = factor * torch.linspace(0.2, 1.0, FEATURES) + 0.5 * noise[row, 2:]
        y[row] = (0.7 * factor + noise[row, 1] > 0).float()
    return x, y


def windows(x, y, start, stop):
    ends = range(start + WINDOW_ROWS - 1, stop)
    return torch.stack([x[end - WINDOW_ROWS + 1 : end + 1] for end in ends]), y[list(ends)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    x, y = example(arguments.rows, generator)
    split = arguments.rows * 3 // 4
    # The scaler sees the training fold alone, as sklearn's RobustScaler.
    quartiles = torch.quantile(x[:split].double(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.double), dim=0)
    median, iqr = quartiles[1].float(), (quartiles[2] - quartiles[0]).float()
    scaled = ((x - median) / iqr).clamp(-8, 8)
    train_x, train_y = windows(scaled, y, 0, split)
    valid_x, valid_y = windows(scaled, y, split, arguments.rows)

    model = ProductionLSTM(FEATURES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    loss_of, best = torch.nn.BCELoss(), (float("inf"), None)
    for epoch in range(arguments.epochs):
        model.train()
        for batch in torch.randperm(len(train_x), generator=generator).split(64):
            optimizer.zero_grad()
            loss_of(model(train_x[batch]), train_y[batch]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            loss = loss_of(model(valid_x), valid_y).item()
        # A deep copy: state_dict() hands out the live tensors.
        best = min(best, (loss, copy.deepcopy(model.state_dict())), key=lambda pair: pair[0])
        print(f"epoch {epoch}: validation {loss:.4f}")

    model.load_state_dict(best[1])
    meta = {
        "format_version": 1,
        "observations": "bars",
        "features": {
            "names": [f"feature_{index}" for index in range(FEATURES)],
            "hash": "example",
            "median": median.tolist(),
            "iqr": iqr.tolist(),
        },
        "horizon": {"count": 1, "unit": "bars"},
        "window_rows": WINDOW_ROWS,
        "hidden": 64,
        "layers": 2,
        "training_data_sha256": "0" * 64,
        "hyper_parameters": {"framework": f"torch {torch.__version__}"},
        "seed": arguments.seed,
    }
    save_file(model.state_dict(), arguments.out, metadata={"peregrine_lstm": json.dumps(meta)})
    # What the reader is held against: the raw window and PyTorch's own answer.
    with torch.no_grad():
        answer = {"window": x[-WINDOW_ROWS:].flatten().tolist(), "probability": model(scaled[None, -WINDOW_ROWS:]).item()}
    with open(arguments.out + ".check.json", "w", encoding="utf-8") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main()

import numpy as np

from freezeviz import nn, optim
from tests.adapters.contract import AdapterContract


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm(4)
        self.drop = nn.Dropout(0.5)
        self.twice = self.again = nn.Linear(4, 4)
        self.gain = np.ones(4, np.float32)

    def __call__(self, x):
        return self.again(self.twice(self.drop(self.norm(self.first(x))))) * self.gain


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.body = Body()
        self.head = nn.Linear(4, 7)
        self.head.weight = self.embed.weight

    def __call__(self, ids):
        return self.head(self.body(self.embed(ids)))


class TestNative(AdapterContract):
    def build(self):
        from freezeviz import random

        random.seed(0)
        return Net()

    def train(self, model, steps=3):
        from freezeviz import random

        random.seed(1)
        rng = np.random.default_rng(0)
        ids, targets = rng.integers(0, 7, 16), rng.integers(0, 7, 16)
        optimizer = optim.AdamW(1e-2)
        loss_and_grad = nn.value_and_grad(
            model, lambda: nn.losses.cross_entropy(model(ids), targets, reduction="mean")
        )
        losses = []
        for _ in range(steps):
            loss, gradients = loss_and_grad()
            optimizer.update(model, gradients)
            losses.append(float(loss))
        return losses

    def set_mode(self, model, training):
        model.train(training)

    def linear(self):
        return nn.Linear

import torch
from torch import nn

from tests.adapters.contract import AdapterContract


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.twice = self.again = nn.Linear(4, 4)
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.again(self.twice(self.drop(self.norm(self.first(x))))) * self.gain


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.body = Body()
        self.head = nn.Linear(4, 7)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.body(self.embed(ids)))


class TestTorch(AdapterContract):
    def build(self):
        torch.manual_seed(0)
        return Net()

    def train(self, model, steps=3):
        torch.manual_seed(1)
        ids, targets = torch.randint(7, (16,)), torch.randint(7, (16,))
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
        losses = []
        for _ in range(steps):
            loss = nn.functional.cross_entropy(model(ids), targets)
            optimizer.zero_grad()
            if loss.requires_grad:  # with everything frozen there is nothing to do
                loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    def set_mode(self, model, training):
        model.train(training)

    def linear(self):
        return nn.Linear

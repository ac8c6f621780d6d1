"""The MLP of a transformer block (timm's parameter names)."""

from torch import Tensor, nn

from mae.models.layers.recompute import linear_of


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, which `recompute` does not keep."""

    def __init__(self, dim: int, hidden_dim: int, *, recompute: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.recompute = recompute

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return linear_of(self.act, x, self.fc2) if self.recompute else self.fc2(self.act(x))

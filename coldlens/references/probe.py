"""Logistic regression from its objective, in the units that scikit-learn uses."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def unit_scale(features: Float[Tensor, "sample d"]) -> tuple[Float[Tensor, "sample d"], float]:
    """Centres features and divides them by their root mean square, one number for all.

    Args:
        features: A row a sample.

    Returns:
        The scaled features and the root mean square.
    """
    centred = features - features.mean(0)
    scale = centred.square().mean().sqrt().item()
    return centred / scale, scale


def logistic_gradient(
    features: Float[Tensor, "sample d"],
    labels: Bool[Tensor, " sample"],
    weights: Float[Tensor, " d"],
    C: float = 1.0,
) -> Float[Tensor, " d"]:
    """Computes ∇_w of ½‖w‖² + C Σ_k log(1 + exp(−y_k(⟨w, z_k⟩ + b))), y_k = ±1, at the best b.

    Zero at the weights that `sklearn.linear_model.LogisticRegression(C=C)` looks for. The
    objective is 1-strongly convex in w, so those are at most the gradient's norm away.

    Args:
        features: z_k.
        labels: True for y_k = 1.
        weights: w.
        C: Inverse strength of the regularisation.

    Returns:
        Shape [d].
    """
    scores = features @ weights
    low, high = -scores.max() - 50, -scores.min() + 50
    for _ in range(200):  # the derivative in b grows with b: bisect it
        middle = (low + high) / 2
        excess = torch.sigmoid(scores + middle).sum() - labels.sum()
        low, high = (low, middle) if excess > 0 else (middle, high)
    gradient = weights.clone()
    for feature, label, score in zip(features, labels, scores, strict=True):
        gradient = gradient + C * (torch.sigmoid(score + low) - label.to(score)) * feature
    return gradient


def logistic_weights(
    features: Float[Tensor, "sample d"], labels: Bool[Tensor, " sample"], C: float = 1.0
) -> Float[Tensor, " d"]:
    """Minimises the objective of `logistic_gradient` by Newton steps until they stop moving.

    Args:
        features: z_k, in float64.
        labels: True for y_k = 1.
        C: Inverse strength of the regularisation.

    Returns:
        The weights, shape [d].
    """
    count, width = features.shape
    joined = torch.cat([features, features.new_ones(count, 1)], 1)
    penalty = torch.eye(width + 1).to(features)
    penalty[width, width] = 0.0
    solution = features.new_zeros(width + 1)
    for _ in range(50):
        chance = torch.sigmoid(joined @ solution)
        gradient = penalty @ solution + C * joined.T @ (chance - labels.to(chance))
        curvature = penalty + C * joined.T @ torch.diag(chance * (1 - chance)) @ joined
        solution = solution - torch.linalg.solve(curvature, gradient)
    return solution[:width]

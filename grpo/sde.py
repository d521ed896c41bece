"""One denoising step of each sampler, and its log-probability.

Rectified flows (`dance`, `flow`, `cps`, `ode`): x_sigma = (1 - sigma) x0 + sigma x1, where x1 is
noise, and the model predicts v = x1 - x0. Hence x - sigma v predicts x0 and x + (1 - sigma) v
predicts x1. A step goes from sigma to sigma' < sigma; D = sigma - sigma'.
Diffusion (`ddim`): x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps.

Every step is a Gaussian, x' = mu + s z with z ~ N(0, I), and every sigma, alpha_bar or noise level
is a number for the whole batch or a tensor [B]. Computations are in float32 for every input dtype:
in bfloat16, rounding would lose a step of a long schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rewardkit.errors import UsageError, unknown

Scalar = float | Tensor
LogProb = Literal["gaussian", "bare"]
Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class Step:
    """One denoising step, the Gaussian N(mean, std^2 I).

    Attributes:
        mean: mu, [B, ...], float32.
        std: s, [B, 1, ...] or [1, 1, ...], float32; 0 if the step is deterministic.
        x0: the clean sample that the model's output implies, [B, ...], float32.
    """

    mean: Tensor
    std: Tensor
    x0: Tensor

    @property
    def deterministic(self) -> bool:
        """Whether the step adds no noise to any sample, so that `log_prob` refuses it."""
        return not bool(self.std.any())

    def draw(self, noise: Tensor) -> Tensor:
        """The next sample mu + s z, [B, ...], float32, where z is `noise`."""
        return self.mean + self.std * noise.float()


def ddim(
    model_output: Tensor,
    sample: Tensor,
    alpha_bar: Scalar,
    alpha_bar_next: Scalar,
    *,
    eta: Scalar,
    prediction: Prediction = "epsilon",
) -> Step:
    """DDIM's step from alpha_bar = a to alpha_bar' = a', with noise of strength eta.

    s^2 = eta^2 (1 - a') / (1 - a) (1 - a / a'),
    mu = sqrt(a') x0 + sqrt(1 - a' - s^2) eps.

    Args:
        model_output: [B, ...], of the kind given by `prediction`.
        sample: x_t, [B, ...].
        alpha_bar: a, see `ddim_alpha_bars`.
        alpha_bar_next: a'; if it is 1, the step is deterministic.
        eta: 0 is DDIM, 1 gives the variance of DDPM.
        prediction: the model's output, eps or v = sqrt(a) eps - sqrt(1 - a) x0; the scheduler's
            `prediction_type`. x0 is not clipped: latents have no bounds.

    Source: Song et al. 2020, https://arxiv.org/abs/2010.02502, eq. 12 and 16; as a policy, Black
    et al. 2023, https://arxiv.org/abs/2305.13301; kvablack/ddpo-pytorch
    ddpo_pytorch/diffusers_patch/ddim_with_logprob.py.
    """
    if not isinstance(eta, Tensor) and not 0 <= eta <= 1:
        raise UsageError(f"eta must be from 0 (DDIM) to 1 (DDPM's variance); got {eta}")
    x, out = sample.float(), model_output.float()
    a, b = column(alpha_bar, x), column(alpha_bar_next, x)
    match prediction:
        case "epsilon":
            x0, eps = (x - (1 - a).sqrt() * out) / a.sqrt(), out
        case "v_prediction":
            x0 = a.sqrt() * x - (1 - a).sqrt() * out
            eps = a.sqrt() * out + (1 - a).sqrt() * x
        case _:
            raise unknown("prediction", prediction, ["epsilon", "v_prediction"], see="grpo.sde")
    variance = column(eta, x).square() * (1 - b) / (1 - a) * (1 - a / b)
    mean = b.sqrt() * x0 + (1 - b - variance).sqrt() * eps
    return Step(mean, variance.sqrt(), x0)


def dance(
    velocity: Tensor, sample: Tensor, sigma: Scalar, sigma_next: Scalar, *, eta: Scalar
) -> Step:
    """DanceGRPO's step: the flow's SDE with constant diffusion eta.

    s = eta sqrt(D), mu = x - D (v + eta^2 / 2 (x + (1 - sigma) v) / sigma).

    DanceGRPO scores the x0 of the last step, not the noisy sample at its end.

    Args:
        velocity: v, [B, ...].
        sample: x, [B, ...].
        sigma: above 0.
        sigma_next: sigma', below sigma.
        eta: 0.3 for FLUX, 0.25 for HunyuanVideo.

    Source: Xue et al. 2025, https://arxiv.org/abs/2505.07818; XueZeyue/DanceGRPO
    fastvideo/train_grpo_flux.py: flux_step.
    """
    return _flow_sde(velocity, sample, sigma, sigma_next, eta)


def flow(
    velocity: Tensor,
    sample: Tensor,
    sigma: Scalar,
    sigma_next: Scalar,
    *,
    noise_level: Scalar,
    sigma_max: float,
) -> Step:
    """Flow-GRPO's step: the flow's SDE with diffusion g = a sqrt(sigma / (1 - sigma)).

    s = g sqrt(D), mu = x - D (v + g^2 / 2 (x + (1 - sigma) v) / sigma).

    Args:
        velocity: v, [B, ...].
        sample: x, [B, ...].
        sigma: above 0.
        sigma_next: sigma', below sigma.
        noise_level: a; 0.7 for SD 3.5, 0.9 for FLUX.
        sigma_max: replaces sigma in the denominator if sigma is 1, where g would be infinite.
            Upstream uses the second sigma of the schedule, so the first step depends on it.

    Source: Liu et al. 2025, https://arxiv.org/abs/2505.05470, eq. 9; yifan123/flow_grpo
    flow_grpo/diffusers_patch/sd3_sde_with_logprob.py.
    """
    now = column(sigma, sample)
    g = column(noise_level, sample) * (now / (1 - torch.where(now == 1, sigma_max, now))).sqrt()
    return _flow_sde(velocity, sample, sigma, sigma_next, g)


def cps(
    velocity: Tensor, sample: Tensor, sigma: Scalar, sigma_next: Scalar, *, noise_level: Scalar
) -> Step:
    """The coefficient-preserving step: DDIM for flows, whose noise level is exactly sigma'.

    s = sigma' sin(a pi / 2), mu = (1 - sigma') x0 + sigma' cos(a pi / 2) x1.

    Hence s^2 + (sigma' cos)^2 = sigma'^2, while `dance` and `flow` leave more noise than the
    schedule specifies. The step to sigma' = 0 is deterministic.

    Args:
        velocity: v, [B, ...].
        sample: x, [B, ...].
        sigma: from 0 to 1.
        sigma_next: sigma', below sigma.
        noise_level: a, from 0 (Euler's step) to 1 (all noise is new); 0.8 upstream.

    Source: Wang and Yu 2025, https://arxiv.org/abs/2509.05952; IamCreateAI/FlowCPS
    flow_grpo/diffusers_patch/sd3_sde_with_logprob.py. Its log-probability is the bare -(x' - mu)^2,
    to which its clip range applies: see `spread`.
    """
    if not isinstance(noise_level, Tensor) and not 0 <= noise_level <= 1:
        raise UsageError(f"noise_level of cps must be from 0 to 1; got {noise_level}")
    x, v = sample.float(), velocity.float()
    now, then = column(sigma, x), column(sigma_next, x)
    x0, x1 = x - now * v, x + (1 - now) * v
    angle = column(noise_level, x) * (math.pi / 2)
    return Step((1 - then) * x0 + then * angle.cos() * x1, then * angle.sin(), x0)


def ode(velocity: Tensor, sample: Tensor, sigma: Scalar, sigma_next: Scalar) -> Step:
    """Euler's step of the flow, mu = x - D v, s = 0: deterministic.

    Args:
        velocity: v, [B, ...].
        sample: x, [B, ...].
        sigma: above 0.
        sigma_next: sigma', below sigma.

    Source: diffusers' FlowMatchEulerDiscreteScheduler.step.
    """
    return _flow_sde(velocity, sample, sigma, sigma_next, 0.0)


def log_prob(x_next: Tensor, mean: Tensor, std: Scalar) -> Tensor:
    """Log-probability of a Gaussian step, averaged over dimensions: [B], float32.

    log p = mean over all dimensions but the first of -(x' - mu)^2 / (2 s^2) - ln s - ln(2 pi) / 2.

    Published methods use this mean, not the sum that would be the joint density; clip ranges such
    as 1e-4 apply to the mean. `spread` returns the std of each method.

    Args:
        x_next: x', [B, ...]; it is a sample, so no gradient flows through it.
        mean: mu, [B, ...].
        std: s, above 0.

    Raises:
        UsageError: std is 0 for a sample: a deterministic step has no density.

    Source: kvablack/ddpo-pytorch ddpo_pytorch/diffusers_patch/ddim_with_logprob.py.
    """
    mu = mean.float()
    s = positive(std, mu)
    z = (x_next.detach().float() - mu) / s
    return (-0.5 * z.square() - s.log() - 0.5 * math.log(2 * math.pi)).flatten(1).mean(1)


def spread(step: Step, kind: LogProb) -> Scalar:
    """The std of a step for `log_prob` and `grpo.loss.kl_x`.

    "gaussian" is the std of the step. "bare" is sqrt(1/2) for every step: up to a constant, which
    cancels in every ratio, the log-probability is then -(x' - mu)^2, and the KL is (mu - mu_ref)^2.

    Source: "bare" is IamCreateAI/FlowCPS flow_grpo/diffusers_patch/sd3_sde_with_logprob.py.
    """
    return step.std if kind == "gaussian" else math.sqrt(0.5)


def noised(x0: Tensor, noise: Tensor, sigma: Scalar) -> Tensor:
    """A clean sample noised by the flow, (1 - sigma) x0 + sigma x1, [B, ...], float32."""
    level = column(sigma, x0)
    return (1 - level) * x0.float() + level * noise.float()


def column(value: Scalar, like: Tensor) -> Tensor:
    """One number, or one per sample, that broadcasts against `like` [B, ...]; float32.

    Raises:
        UsageError: `value` has neither 1 nor B elements.
    """
    values = (
        value.to(like.device, torch.float32)
        if isinstance(value, Tensor)
        # Filled on the device: copying a number there would make the host wait.
        else torch.full((1,), value, dtype=torch.float32, device=like.device)
    )
    if values.numel() not in {1, len(like)}:
        raise UsageError(
            f"{values.numel()} values given for {len(like)} samples; give one or {len(like)}"
        )
    return values.reshape(-1, *[1] * (like.ndim - 1))


def positive(std: Scalar, like: Tensor) -> Tensor:
    """A standard deviation as a `column`; raises if it is not above 0.

    It is checked on the CPU only: on another device the host would have to wait for the result.
    There, a plan must hold only steps of `Sampler.stochastic_steps`, or the loss is NaN.
    """
    values = column(std, like)
    if values.device.type == "cpu" and not bool((values > 0).all()):
        raise UsageError(
            f"std must be above 0; got {values.min().item():g}. Steps of ode, with eta or "
            "noise_level 0, of cps to sigma 0 and of ddim to alpha_bar 1 have no density: train on "
            "the other steps only"
        )
    return values


def _flow_sde(
    velocity: Tensor, sample: Tensor, sigma: Scalar, sigma_next: Scalar, g: Scalar
) -> Step:
    """Euler-Maruyama step of the SDE with the marginals of the flow and diffusion g.

    The drift is v - g^2 / 2 score, where score = -x1 / sigma.
    """
    x, v = sample.float(), velocity.float()
    now, then = column(sigma, x), column(sigma_next, x)
    diffusion = column(g, x)
    dt = now - then
    x1 = x + (1 - now) * v
    mean = x - dt * (v + 0.5 * diffusion.square() * x1 / now)
    return Step(mean, diffusion * dt.sqrt(), x - now * v)

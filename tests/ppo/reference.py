"""One update of PPO, written a second time.

Plainly, in float64, sharing no code with the package.

For a categorical policy with separate tanh MLPs. The forward pass, the loss, Adam and RMSprop are spelled out; only
the gradients come from autograd.
"""

import torch


def adam_step(weight, gradient, state, rate, betas, eps, decay=0.0):
    """Adam (Kingma & Ba, 2015, algorithm 1); with `decay`, AdamW (Loshchilov & Hutter, 2019, algorithm 2).

    Works on arrays of NumPy and PyTorch; returns the new weight, and keeps its statistics in the dictionary `state`.
    """
    step = state["step"] = state.get("step", 0) + 1
    mean = state["mean"] = betas[0] * state.get("mean", 0.0) + (1 - betas[0]) * gradient
    square = state["square"] = betas[1] * state.get("square", 0.0) + (1 - betas[1]) * gradient**2
    moved = mean / (1 - betas[0] ** step) / ((square / (1 - betas[1] ** step)) ** 0.5 + eps)
    return weight - rate * decay * weight - rate * moved


def network(weights, trunk, head, observations):
    x = observations
    layers = sorted({name.split(".")[2] for name in weights if name.startswith(f"{trunk}.layers.")}, key=int)
    for layer in layers:
        prefix = f"{trunk}.layers.{layer}"
        x = torch.tanh(x @ weights[f"{prefix}.weight"].T + weights[f"{prefix}.bias"])
    return x @ weights[f"{head}.weight"].T + weights[f"{head}.bias"]


def advantages_and_returns(rewards, values, terminations, truncations, last_values, final_values, gamma, lam):
    advantages = torch.zeros_like(values)
    following = torch.zeros_like(last_values)
    for t in reversed(range(len(rewards))):
        after = values[t + 1] if t + 1 < len(values) else last_values
        bootstrap = (final_values[t] * truncations[t] + after * ~truncations[t]) * ~terminations[t]
        following = following * ~(terminations[t] | truncations[t])
        advantages[t] = following = rewards[t] + gamma * bootstrap - values[t] + gamma * lam * following
    return advantages, advantages + values


def loss_of(weights, batch, config):
    logits = network(weights, "actor_trunk", "policy_head", batch["observations"])
    probabilities = logits.exp() / logits.exp().sum(1, keepdim=True)
    chosen = probabilities[torch.arange(len(logits)), batch["actions"]]
    ratio = chosen / batch["log_probs"].exp()
    advantages = batch["advantages"]
    if config.ppo.normalize_advantage:
        advantages = (advantages - advantages.mean()) / advantages.std()
    epsilon = config.ppo.clip_range
    gain = ratio * advantages
    if config.ppo.surrogate == "clip":
        upper = epsilon if config.ppo.clip_range_upper is None else config.ppo.clip_range_upper
        gain = torch.minimum(gain, ratio.clip(1 - epsilon, 1 + upper) * advantages)
    if config.ppo.surrogate == "spo":
        gain = gain - advantages.abs() / (2 * epsilon) * (ratio - 1) ** 2
    if config.ppo.surrogate == "kl":
        old = batch["old_probabilities"]
        gain = gain - config.ppo.kl_coef * (old * (old / probabilities).log()).sum(1)
    gain = gain.mean()

    values = network(weights, "critic_trunk", "value_head", batch["observations"])[:, 0]
    errors = (values - batch["returns"]) ** 2
    if config.ppo.clip_value_loss:
        moved = (values - batch["values"]).clip(-epsilon, epsilon)
        errors = torch.maximum(errors, (batch["values"] + moved - batch["returns"]) ** 2)
    entropy = -(probabilities * probabilities.log()).sum(1).mean()
    return -gain + config.ppo.value_coef * errors.mean() / 2 - config.ppo.entropy_coef * entropy


def divergence_of(weights, batch):
    """The estimate k₃ of the KL from the old policy: mean((r − 1) − log r)."""
    with torch.no_grad():
        logits = network(weights, "actor_trunk", "policy_head", batch["observations"])
        ratio = logits.softmax(1)[torch.arange(len(logits)), batch["actions"]] / batch["log_probs"].exp()
        return ((ratio - 1) - ratio.log()).mean().item()


def recomputed(weights, rollout, config):
    """Advantages and returns of a rollout, by the values of these weights."""

    def value(observations):
        return network(weights, "critic_trunk", "value_head", observations.double())[..., 0]

    values = value(rollout.frames)
    final_values = torch.zeros_like(values[:-1])
    for index, frame in rollout.final_frames.items():
        final_values[index // rollout.num_envs, index % rollout.num_envs] = value(frame)
    parts = advantages_and_returns(
        rollout.rewards.double(),
        values[:-1],
        rollout.terminations,
        rollout.truncations,
        values[-1],
        final_values,
        config.ppo.gamma,
        config.ppo.gae_lambda,
    )
    return tuple(part.flatten() for part in parts)


def updated_weights(weights, rollout, config, rates=None):
    """The float64 weights, by name, after one update.

    On a filled rollout of unstacked vectors. With a list of `rates` the learning rate adapts after every minibatch but
    the first, and all that were used are appended to it, and the next one.
    """
    weights = {name: weight.detach().double().requires_grad_() for name, weight in weights.items()}
    advantages, returns = advantages_and_returns(
        rollout.rewards.double(),
        rollout.values.double(),
        rollout.terminations,
        rollout.truncations,
        rollout.last_values.double(),
        rollout.final_values.double(),
        config.ppo.gamma,
        config.ppo.gae_lambda,
    )
    steps = {
        "observations": rollout.frames[: rollout.num_steps].double().flatten(0, 1),
        "actions": rollout.actions.flatten(),
        "log_probs": rollout.log_probs.double().flatten(),
        "values": rollout.values.double().flatten(),
        "advantages": advantages.flatten(),
        "returns": returns.flatten(),
    }
    if config.ppo.normalize_values:
        # van Hasselt et al., 2016, proposition 1, from mean 0 and deviation 1.
        mean, deviation = returns.mean(), returns.std(correction=0)
        steps["values"], steps["returns"] = ((steps[name] - mean) / deviation for name in ("values", "returns"))
        with torch.no_grad():
            weights["value_head.weight"] /= deviation
            weights["value_head.bias"].sub_(mean).div_(deviation)
    with torch.no_grad():
        logits = network(weights, "actor_trunk", "policy_head", steps["observations"])
        steps["old_probabilities"] = logits.softmax(1)
    shuffling = torch.Generator().manual_seed(config.run.seed)
    adam = {name: {} for name in weights}
    rate = config.optim.learning_rate
    second = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for epoch in range(config.ppo.epochs):
        if epoch and config.ppo.recompute_advantages:
            with torch.no_grad():
                steps["advantages"], steps["returns"] = recomputed(weights, rollout, config)
        order = torch.randperm(config.batch_size, generator=shuffling)
        for start in range(0, config.batch_size, config.minibatch_size):
            chosen = order[start : start + config.minibatch_size]
            batch = {name: step[chosen] for name, step in steps.items()}
            loss, divergence = loss_of(weights, batch, config), divergence_of(weights, batch)
            gradients = torch.autograd.grad(loss, list(weights.values()))
            norm = sum((gradient**2).sum() for gradient in gradients) ** 0.5
            scale = min(1.0, config.optim.max_grad_norm / norm.item())
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                if config.optim.name == "rmsprop":
                    second[name] = 0.99 * second[name] + 0.01 * (scale * gradient) ** 2
                    with torch.no_grad():
                        weight -= rate * scale * gradient / (second[name] ** 0.5 + 1e-5)
                    continue
                with torch.no_grad():
                    weight.copy_(
                        adam_step(weight, scale * gradient, adam[name], rate, (0.9, 0.999), config.optim.adam_eps)
                    )
            if rates is None:
                continue
            rates.append(rate)
            if epoch or start:  # in the first minibatch the policy is still the old one
                if divergence > 2 * config.ppo.desired_kl:
                    rate = max(rate / 1.5, config.optim.min_learning_rate)
                elif divergence < config.ppo.desired_kl / 2:
                    rate = min(rate * 1.5, config.optim.max_learning_rate)
    if rates is not None:
        rates.append(rate)
    return weights

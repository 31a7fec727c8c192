"""One update of PPO, written a second time.

Plainly, in float64, sharing no code with the package.

For a categorical policy with separate tanh MLPs. The forward pass, the loss, Adam and RMSprop are spelled out; only
the gradients come from autograd.
"""

import torch


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


def updated_weights(weights, rollout, config):
    """The float64 weights, by name, after one update.

    On a filled rollout of unstacked vectors.
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
    with torch.no_grad():
        logits = network(weights, "actor_trunk", "policy_head", steps["observations"])
        steps["old_probabilities"] = logits.softmax(1)
    shuffling = torch.Generator().manual_seed(config.run.seed)
    first = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    second = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    adam_step = 0
    for epoch in range(config.ppo.epochs):
        if epoch and config.ppo.recompute_advantages:
            with torch.no_grad():
                steps["advantages"], steps["returns"] = recomputed(weights, rollout, config)
        order = torch.randperm(config.batch_size, generator=shuffling)
        for start in range(0, config.batch_size, config.minibatch_size):
            chosen = order[start : start + config.minibatch_size]
            loss = loss_of(weights, {name: step[chosen] for name, step in steps.items()}, config)
            gradients = torch.autograd.grad(loss, list(weights.values()))
            norm = sum((gradient**2).sum() for gradient in gradients) ** 0.5
            scale = min(1.0, config.optim.max_grad_norm / norm.item())
            adam_step += 1
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                if config.optim.name == "rmsprop":
                    second[name] = 0.99 * second[name] + 0.01 * (scale * gradient) ** 2
                    with torch.no_grad():
                        weight -= config.optim.learning_rate * scale * gradient / (second[name] ** 0.5 + 1e-5)
                    continue
                first[name] = 0.9 * first[name] + 0.1 * scale * gradient
                second[name] = 0.999 * second[name] + 0.001 * (scale * gradient) ** 2
                mean, square = first[name] / (1 - 0.9**adam_step), second[name] / (1 - 0.999**adam_step)
                with torch.no_grad():
                    weight -= config.optim.learning_rate * mean / (square**0.5 + config.optim.adam_eps)
    return weights

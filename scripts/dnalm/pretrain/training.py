"""Everything that decides the numbers of a pretraining run: batches, masks, loss, optimizer, log.

Saving, time limits and processes live elsewhere, so that mending those leaves running trainings valid:
the code of this module is part of a run's fingerprint (see `dnalm.running.checkpoints`).

Nothing here keeps a random state. The order of the lines is a function of (seed, epoch), a mask of
(seed, epoch, line), dropout of (seed, step, process), the learning rate of the step. A run that goes on
at step s therefore needs the weights, the optimizer's two moments and the log, and nothing else.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from dnalm.pretrain.masking import EVALUATION, TRAINING, line_generator, mask_tokens
from dnalm.running.errors import InputError
from dnalm.tokenize_windows.cache import TokenLines
from dnalm.tokenizers.encoding import truncate

# Lines that are sorted by length together. Batches of 32 drawn from 3,200 lines waste under 0.2% on
# padding and are still mixed well.
BATCHES_PER_POOL = 100
# A micro-batch holds at most this many tokens unless told otherwise: about 2 GB of activations for the
# 44M network. A constant and not a measurement, since it decides the rounding of sums.
TOKENS_PER_MICRO_BATCH = 32768
# At most this many training records in a log.
TRAINING_RECORDS = 500

# Streams of random numbers for the order of lines; those of the masks are in dnalm.pretrain.masking.
_LINE_ORDER, _BATCH_ORDER = 2, 3


@dataclass(frozen=True)
class Masking:
    """The masking section of the config; all three shares are probabilities."""

    probability: float = 0.5
    mask_token: float = 0.8
    random_token: float = 0.1
    span_tokens: int = 1


@dataclass(frozen=True)
class Vocabulary:
    """What the batches need of the tokenizer: its size and the ids of its special tokens."""

    size: int
    special_ids: tuple[int, ...]
    mask_id: int
    pad_id: int
    cls_id: int
    sep_id: int

    @classmethod
    def of(cls, tokenizer: Any) -> "Vocabulary":
        return cls(
            size=len(tokenizer),
            special_ids=tuple(sorted(tokenizer.all_special_ids)),
            mask_id=tokenizer.mask_token_id,
            pad_id=tokenizer.pad_token_id,
            cls_id=tokenizer.cls_token_id,
            sep_id=tokenizer.sep_token_id,
        )


@dataclass(frozen=True)
class Share:
    """Which part of each batch a process computes, and in how many pieces.

    A batch of `batch_size` lines is dealt out like cards to `processes * pieces` micro-batches.
    """

    batch_size: int
    processes: int = 1
    rank: int = 0
    pieces: int = 1

    @classmethod
    def of(
        cls, batch_size: int, *, processes: int, rank: int, max_tokens: int, micro_batch_size: int | None
    ) -> "Share":
        per_process = math.ceil(batch_size / processes)
        micro = micro_batch_size or max(1, TOKENS_PER_MICRO_BATCH // max_tokens)
        return cls(batch_size, processes, rank, math.ceil(per_process / micro))

    def lines(self, batch: np.ndarray, piece: int) -> np.ndarray:
        """The lines of `batch` in this process's micro-batch number `piece`; may be none."""
        return batch[piece * self.processes + self.rank :: self.processes * self.pieces]


# ----------------------------------------------------------------------------- order


def batches_per_epoch(n_lines: int, batch_size: int) -> int:
    """Optimizer steps in one pass over the lines; the lines left over change from epoch to epoch."""
    return max(1, n_lines // batch_size)


def epoch_batches(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """The batches of one epoch in their order: int64[n_batches, batch_size] of line indices.

    Lines of similar length stand together; within that, the order of lines and of batches is random. A
    function of the arguments alone. With fewer lines than `batch_size` there is one, smaller batch.
    """
    n = len(lengths)
    batch_size = min(batch_size, n)
    count = batches_per_epoch(n, batch_size)
    # argsort of random numbers: unlike `permutation`, its result cannot change with numpy's version.
    order = np.argsort(line_generator(seed, epoch, 0, _LINE_ORDER).random(n), kind="stable")
    order = order[: count * batch_size]
    for start in range(0, len(order), BATCHES_PER_POOL * batch_size):
        pool = order[start : start + BATCHES_PER_POOL * batch_size]
        pool[:] = pool[np.argsort(lengths[pool], kind="stable")]
    batches = order.reshape(count, batch_size)
    return batches[np.argsort(line_generator(seed, epoch, 0, _BATCH_ORDER).random(count), kind="stable")]


def evaluation_lines(n_lines: int, limit: int) -> np.ndarray:
    """At most `limit` line indices, evenly spread over all `n_lines`: int64[m], ascending."""
    count = min(n_lines, limit)
    return np.arange(count, dtype=np.int64) * n_lines // max(count, 1)


# ----------------------------------------------------------------------------- batches


class Corpus:
    """Lines of tokens and how they become masked micro-batches."""

    def __init__(
        self,
        lines: TokenLines,
        vocabulary: Vocabulary,
        masking: Masking,
        *,
        max_tokens: int,
        seed: int,
        pad_to_multiple_of: int = 1,
    ):
        self.lines, self.vocabulary, self.masking = lines, vocabulary, masking
        self.max_tokens, self.seed, self.pad_to_multiple_of = max_tokens, seed, pad_to_multiple_of
        self.lengths = np.minimum(lines.lengths, max_tokens)

    def micro_batch(self, indices: Sequence[int], epoch: int, stream: int) -> dict[str, torch.Tensor]:
        """The masked lines `indices` as `input_ids`, `labels` and, if padded, `attention_mask`: int64[n, T].

        Each mask is a function of (seed, epoch, line). No lines at all (more processes than lines) give
        one empty sequence without labels, so that every process takes part in every step.
        """
        vocabulary, masking = self.vocabulary, self.masking
        masked = [
            mask_tokens(
                truncate(self.lines.line(int(index)), self.max_tokens),
                special_ids=vocabulary.special_ids,
                vocabulary_size=vocabulary.size,
                mask_id=vocabulary.mask_id,
                probability=masking.probability,
                mask_share=masking.mask_token,
                random_share=masking.random_token,
                span_tokens=masking.span_tokens,
                generator=line_generator(self.seed, epoch, int(index), stream),
            )
            for index in indices
        ]
        if not masked:
            ids = np.array([vocabulary.cls_id, vocabulary.sep_id])
            masked = [(ids, np.full(2, -100))]
        return pad(masked, vocabulary.pad_id, self.pad_to_multiple_of)


def pad(
    lines: Sequence[tuple[np.ndarray, np.ndarray]], pad_id: int, multiple_of: int = 1
) -> dict[str, torch.Tensor]:
    """Stack (ids, labels) of unequal lengths. Without padding there is no attention mask, which is faster."""
    lengths = np.array([len(ids) for ids, _ in lines])
    width = -(-int(lengths.max()) // multiple_of) * multiple_of
    input_ids = np.full((len(lines), width), pad_id, dtype=np.int64)
    labels = np.full((len(lines), width), -100, dtype=np.int64)
    for row, (ids, targets) in enumerate(lines):
        input_ids[row, : len(ids)] = ids
        labels[row, : len(ids)] = targets
    batch = {"input_ids": torch.from_numpy(input_ids), "labels": torch.from_numpy(labels)}
    if (lengths < width).any():
        batch["attention_mask"] = torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64))
    return batch


class MicroBatches(Dataset):
    """Item i is micro-batch number i of this process, counted from the start of the training.

    Item i belongs to step `i // share.pieces`. Items can be made in any order by any worker.
    """

    def __init__(self, corpus: Corpus, share: Share, steps: int):
        self.corpus, self.share, self.steps = corpus, share, steps
        self.batch_size = min(share.batch_size, len(corpus.lengths))
        self.per_epoch = batches_per_epoch(len(corpus.lengths), self.batch_size)
        self._epoch, self._batches = -1, np.empty((0, 0), np.int64)

    def __len__(self) -> int:
        return self.steps * self.share.pieces

    def batch(self, step: int) -> tuple[int, np.ndarray]:
        """(epoch, lines of the whole batch over all processes) of the step that follows `step` steps."""
        epoch = step // self.per_epoch
        if epoch != self._epoch:
            self._batches = epoch_batches(self.corpus.lengths, self.batch_size, self.corpus.seed, epoch)
            self._epoch = epoch
        return epoch, self._batches[step % self.per_epoch]

    def tokens(self, step: int) -> int:
        """Tokens in the whole batch of that step, [CLS] and [SEP] included, padding not."""
        return int(self.corpus.lengths[self.batch(step)[1]].sum())

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        epoch, batch = self.batch(index // self.share.pieces)
        return self.corpus.micro_batch(self.share.lines(batch, index % self.share.pieces), epoch, TRAINING)


# ----------------------------------------------------------------------------- evaluation


@torch.no_grad()
def evaluate(
    model: Any, corpus: Corpus, lines: np.ndarray, share: Share, autocast: Callable[[], Any]
) -> dict[str, float]:
    """Loss (nats per masked token), accuracy and perplexity on held-out `lines`, over all processes.

    The masks are the same at every call, so that the numbers of one run can be compared. Only masked
    tokens pass through the prediction head.
    """
    device = next(model.parameters()).device
    micro = math.ceil(share.batch_size / share.processes / share.pieces)
    ordered = lines[np.argsort(corpus.lengths[lines], kind="stable")]
    # loss, correct, masked; float64, so that the sum does not depend on how lines are dealt out.
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    was_training = model.training
    model.eval()
    for start in range(share.rank * micro, len(ordered), micro * share.processes):
        batch = corpus.micro_batch(ordered[start : start + micro], 0, EVALUATION)
        labels = batch.pop("labels").to(device)
        masked = labels != -100
        with autocast():
            hidden = model.model(**{key: value.to(device) for key, value in batch.items()})[0]
            logits = model.decoder(model.head(hidden[masked])).float()
        targets = labels[masked]
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        sums += torch.stack(
            [losses.double().sum(), (logits.argmax(-1) == targets).double().sum(), masked.double().sum()]
        )
    model.train(was_training)
    if share.processes > 1:
        torch.distributed.all_reduce(sums)
    loss, correct, masked_tokens = sums.tolist()
    masked_tokens = max(masked_tokens, 1.0)
    loss /= masked_tokens
    return {
        "loss": loss,
        "masked_accuracy": correct / masked_tokens,
        "perplexity": math.exp(min(loss, 700.0)),
        "masked_tokens": int(masked_tokens),
    }


# ----------------------------------------------------------------------------- training


@dataclass
class RunState:
    """Where a training stands: what a checkpoint holds beside weights and moments."""

    step: int = 0
    tokens: int = 0
    # Loss summed since the last training record, one number per process.
    losses: list[float] | None = None
    log: list[dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        self.losses = self.losses or []
        self.log = self.log or []


@dataclass(frozen=True)
class Schedule:
    """The training section of the config, as far as it decides numbers."""

    steps: int
    learning_rate: float
    schedule: str
    warmup_fraction: float
    weight_decay: float
    max_gradient_norm: float
    evaluate_every: int
    seed: int

    @property
    def record_every(self) -> int:
        """Steps between training records."""
        return max(1, self.steps // TRAINING_RECORDS)


class PretrainingTrainer(Trainer):
    """Hugging Face's Trainer with batches, evaluation, log and resumption of our own.

    `after_step(trainer)` is called when a step, its records and its evaluation are done. It returns
    True to leave the training early.
    """

    def __init__(
        self,
        model: Any,
        arguments: TrainingArguments,
        *,
        schedule: Schedule,
        batches: MicroBatches,
        held_out: Corpus,
        held_out_lines: np.ndarray,
        run: RunState,
        moments: dict[str, torch.Tensor],
        after_step: Callable[["PretrainingTrainer"], bool],
        watch: Any,
        workers: int = 0,
    ):
        self.schedule, self.batches, self.run, self.watch = schedule, batches, run, watch
        self.held_out, self.held_out_lines = held_out, held_out_lines
        self.moments, self.after_step, self.workers = moments, after_step, workers
        self.gradient_norm: torch.Tensor | None = None
        # Trainer adds keys to the model's configuration that mean nothing for this model.
        self.configuration = copy.deepcopy(model.config)
        super().__init__(model=model, args=arguments, callbacks=[_Steps(self)])
        self.remove_callback(PrinterCallback)
        # Logits are computed for masked tokens only: a quarter less work at equal gradients. Set on the
        # module and not in its configuration, since users of the finished model want all logits.
        model.sparse_prediction = True

    # --- data

    def get_train_dataloader(self) -> DataLoader:
        # Each process makes its own micro-batches, so Accelerate must not deal them out again.
        start = self.run.step * self.batches.share.pieces
        return DataLoader(
            self.batches,
            batch_size=None,
            sampler=range(start, len(self.batches)),
            num_workers=self.workers,
            worker_init_fn=_default_signals,
            pin_memory=self.args.device.type == "cuda",
        )

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Any:
        items = super()._get_num_items_in_batch(batch_samples, device)
        # A batch of short lines may have no masked token at all; its loss is then 0 and not 0/0.
        return items.clamp(min=1) if torch.is_tensor(items) else items

    # --- resumption

    def _init_training_state(self, max_steps: int, *arguments: Any) -> tuple[int, int]:
        super()._init_training_state(max_steps, *arguments)
        self.state.global_step = self.run.step
        # The data loader begins at the current step: no epoch and no batch is to be skipped.
        return 0, 0

    def _prepare_for_training(self, *arguments: Any) -> Any:
        result = super()._prepare_for_training(*arguments)
        step = self.run.step
        if self.moments:
            load_moments(self.model, self.optimizer, self.moments)
            self.moments = {}
        # The schedules are closed formulas of the step; nothing is stored of them.
        scheduler = self.lr_scheduler
        scheduler.last_epoch = step
        rates = [
            base * rate(step) for base, rate in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        ]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        scheduler._last_lr = rates
        return result

    # --- steps

    def training_step(
        self, model: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: Any = None
    ) -> Any:
        self.watch.count(inputs)
        share = self.batches.share
        # Dropout is a function of the step and the process too.
        torch.manual_seed(
            self.schedule.seed + 1_000_003 * (self.state.global_step * share.processes + share.rank)
        )
        return super().training_step(model, inputs, num_items_in_batch)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        self.gradient_norm = super()._get_grad_norm(model, grad_norm)
        return self.gradient_norm

    def finish_step(self, rate: float) -> bool:
        """Record, evaluate and save after a step; `rate` is its learning rate. True to stop."""
        run, schedule = self.run, self.schedule
        run.tokens += self.batches.tokens(run.step)
        run.step += 1
        if run.step % schedule.record_every == 0 or run.step == schedule.steps:
            self._record_training(rate)
        if run.step % schedule.evaluate_every == 0 or run.step == schedule.steps:
            self.record_evaluation()
        return self.after_step(self)

    def gather_losses(self) -> list[float]:
        """The loss summed since the last record, of each process. Called by all processes together."""
        loss = self._tr_loss.detach().reshape(1)
        if self.batches.share.processes == 1:
            return loss.tolist()
        losses = [torch.zeros_like(loss) for _ in range(self.batches.share.processes)]
        torch.distributed.all_gather(losses, loss)
        return [value.item() for value in losses]

    def restore_losses(self) -> None:
        """Go on adding to the losses of a checkpoint. Another number of processes gets their mean."""
        losses, share = self.run.losses, self.batches.share
        if losses:
            own = losses[share.rank] if len(losses) == share.processes else sum(losses) / len(losses)
            self._tr_loss.fill_(own)

    def _record_training(self, rate: float) -> None:
        run = self.run
        steps = run.step % self.schedule.record_every or self.schedule.record_every
        losses = self.gather_losses()
        loss = sum(losses) / len(losses) / steps
        if not math.isfinite(loss):
            raise InputError(
                f"the training loss is {loss} at step {run.step}. Lower the learning rate "
                f"(now {self.schedule.learning_rate:g}) or lengthen the warm-up."
            )
        self._tr_loss.zero_()
        record = {
            "event": "train",
            "step": run.step,
            "epoch": round(run.step / self.batches.per_epoch, 6),
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": float(self.gradient_norm) if self.gradient_norm is not None else None,
            "tokens": run.tokens,
        }
        run.log.append(record)
        self.watch.loss = loss

    def record_evaluation(self) -> None:
        """Evaluate the model as it is and add the record to the log."""
        run = self.run
        with self.watch.measure("evaluation"):
            result = evaluate(
                self.model, self.held_out, self.held_out_lines, self.batches.share, self.accelerator.autocast
            )
        run.log.append(
            {
                "event": "evaluation",
                "step": run.step,
                "epoch": round(run.step / self.batches.per_epoch, 6),
                **result,
                "tokens": run.tokens,
            }
        )
        self.watch.say_evaluation(run.step, result)


class _Steps(TrainerCallback):
    """Hands the Trainer's events to our own methods."""

    def __init__(self, trainer: PretrainingTrainer):
        self.trainer = trainer
        self.rate = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        trainer.restore_losses()
        if trainer.run.step == 0 and not trainer.run.log:
            trainer.record_evaluation()
        trainer.watch.begin(trainer.run.step)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Before the scheduler moves on: the rate that this step was made with.
        self.rate = float(self.trainer.optimizer.param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.finish_step(self.rate) or self.trainer.run.step >= self.trainer.schedule.steps:
            control.should_training_stop = True


def training_arguments(
    schedule: Schedule, share: Share, *, scratch: str, device: torch.device, precision: str
) -> TrainingArguments:
    """Hugging Face's arguments for this run; its logging, evaluation and saving are replaced by ours."""
    arguments = TrainingArguments(
        output_dir=scratch,
        max_steps=schedule.steps,
        per_device_train_batch_size=math.ceil(share.batch_size / share.processes / share.pieces),
        gradient_accumulation_steps=share.pieces,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type=schedule.schedule,
        warmup_steps=math.ceil(schedule.steps * schedule.warmup_fraction),
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.max_gradient_norm,
        optim="adamw_torch_fused",
        seed=schedule.seed,
        bf16=precision == "bf16",
        use_cpu=device.type == "cpu",
        # Given without need, it makes Accelerate look for other processes.
        ddp_backend=None if share.processes == 1 else "nccl" if device.type == "cuda" else "gloo",
        ddp_find_unused_parameters=False,
        average_tokens_across_devices=True,
        # Looking at the loss of every step would make the GPU wait for the CPU.
        logging_nan_inf_filter=False,
        logging_strategy="no",
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    # One process drives one GPU, also where it sees several: never DataParallel.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _default_signals(worker: int) -> None:
    """Data loader workers end with their parent; they do not take part in saving."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# ----------------------------------------------------------------------------- state of the optimizer


def weights(model: Any) -> dict[str, torch.Tensor]:
    """The trained tensors by name, tied ones once."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Copy `tensors`, as from :func:`weights`, into the model. Raises KeyError if one is missing."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[name])


def moments(model: Any, optimizer: Any) -> dict[str, torch.Tensor]:
    """The optimizer's tensors by `<kind>/<parameter>` (AdamW: exp_avg, exp_avg_sq, step)."""
    state = _inner(optimizer).state
    return {
        f"{kind}/{name}": value.detach()
        for name, parameter in model.named_parameters()
        for kind, value in state.get(parameter, {}).items()
    }


def load_moments(model: Any, optimizer: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what :func:`moments` gave."""
    state = _inner(optimizer).state
    names = dict(model.named_parameters())
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        # `step` is a float32 scalar that the fused optimizer keeps on the device, like the moments.
        state[names[name]][kind] = value.to(names[name].device)


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer inside of Accelerate's wrapper."""
    return getattr(optimizer, "optimizer", optimizer)

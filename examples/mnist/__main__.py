"""Train LeNet5 on MNIST or Fashion-MNIST: python -m examples.mnist --help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import autograph as ag
from autograph import parallel
from autograph.data import fashion_mnist, mnist
from autograph.optim import SGD, Adam, AdamW, Cosine, Optimizer, Schedule, Step
from autograph.progress import Plain, progress_bar
from autograph.train import Progress

from .lenet5 import LeNet5

DATASETS = {"mnist": mnist, "fashion": fashion_mnist}
RATES = {"sgd": 0.05, "adam": 2e-3, "adamw": 2e-3}


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, with what is left out filled in."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.mnist",
        description="Train LeNet5 on the 60,000 images of MNIST and test it on 10,000.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--device", default="host", help="host, cuda or cuda:N")
    add("--dataset", default="mnist", choices=DATASETS)
    add("--data", type=Path, help="folder with the four idx files, gzipped or not")
    add("--scalar-type", default="f32", choices=("f32", "bf16"))
    add("--epochs", type=positive, default=10, help="the horizon of the schedule")
    add("--stop-after", type=positive, metavar="K", help="end after epoch K of the horizon")
    add("--train-batch-size", type=positive, default=100, help="of each rank")
    add("--test-batch-size", type=positive, default=1000)
    add("--optimizer", default="adam", choices=RATES)
    add("--learning-rate", type=float, help=f"by default {RATES}")
    add("--momentum", type=float, default=0.9, help="of sgd")
    add("--schedule", default="cosine", choices=("constant", "cosine", "step"))
    add("--seed", type=int, default=0)
    add("--checkpoint", type=Path, default=Path("lenet5.safetensors"), help="saved each epoch")
    add("--resume", action="store_true", help="go on from the checkpoint, bit for bit")
    add("--run", type=Path, metavar="FOLDER", help="keep checkpoints and logs there, and go on")
    add("--parallel", action="store_true", help="as one of the ranks that mpiexec has started")
    options = parser.parse_args(arguments)
    options.given = {
        name
        for name in vars(options)
        if any(
            each.split("=")[0] == f"--{name.replace('_', '-')}"
            for each in (sys.argv[1:] if arguments is None else arguments)
        )
    }
    return options


def positive(text: str) -> int:
    """An int of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def optimizer_of(options: argparse.Namespace) -> Optimizer:
    """The optimizer that the options describe."""
    rate = RATES[options.optimizer] if options.learning_rate is None else options.learning_rate
    schedules: dict[str, float | Schedule] = {
        "constant": rate,
        "cosine": Cosine(peak=rate),
        "step": Step(initial=rate, every=3000, factor=0.5),
    }
    chosen = schedules[options.schedule]
    if options.optimizer == "sgd":
        return SGD(learning_rate=chosen, momentum=options.momentum)
    return (Adam if options.optimizer == "adam" else AdamW)(learning_rate=chosen)


def resumed(options: argparse.Namespace) -> tuple[Any, Optimizer, Progress]:
    """Model, optimizer and progress of the checkpoint; what was given must agree with them."""
    checkpoint = ag.Checkpoint.open(options.checkpoint)
    progress = Progress.read(checkpoint.progress)
    model = checkpoint.build(device=options.device)
    optimizer = checkpoint.build_optimizer(model)
    rate = optimizer.learning_rate
    fixed = {
        "train_batch_size": (options.train_batch_size, progress.batch_size),
        "seed": (options.seed, progress.seed),
        "scalar_type": (options.scalar_type, str(model.scalar_type)),
    }
    if isinstance(rate, Schedule) and rate.depends_on_horizon:
        fixed["epochs"] = (options.epochs, progress.epochs)
    for name, (given, kept) in fixed.items():
        if name in options.given and given != kept:
            raise ag.errors.SettingsError(
                f"resume: --{name.replace('_', '-')} is another than the checkpoint's\n"
                f"  given       {given}\n  checkpoint  {kept}\n  leave it out, or start anew"
            )
    if "epochs" in options.given and options.epochs != progress.epochs:
        progress = Progress(**{**progress.describe(), "epochs": options.epochs})
    print(f"goes on from {options.checkpoint}: {checkpoint.compared(model, optimizer)}")
    return model, optimizer, progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, print a line an epoch, and save a checkpoint."""
    options = options_of(arguments)
    if options.run is not None and options.resume:
        raise ag.errors.SettingsError("a run goes on by itself: leave out --resume, or --run")
    world = parallel.init(options.device) if options.parallel else None
    ranks, is_first = (1, True) if world is None else (world.size, world.is_first)
    options.device = options.device if world is None else world.device
    options.train_batch_size *= ranks
    data = DATASETS[options.dataset](options.data)
    if options.resume:
        model, optimizer, progress = resumed(options)
    else:
        model = LeNet5.build(
            device=options.device, scalar_type=options.scalar_type, seed=options.seed
        )
        optimizer = optimizer_of(options)
        progress = Progress(options.epochs, options.train_batch_size, options.seed)
    if is_first:
        print(model)
        info = model.device.info()
        told = ", ".join(f"{name} {value}" for name, value in info.items())
        print(f"  {model.device}: {told}" + (f", {ranks} ranks" if world is not None else ""))
    kept: dict[str, Any] = {"progress": progress}
    if options.run is not None:
        kept = {"run": options.run, "epochs": progress.epochs, "seed": progress.seed}
        kept["batch_size"] = progress.batch_size // ranks
    with progress_bar() if is_first else nullcontext(Plain()) as bar:
        for report in ag.fit(
            model,
            optimizer,
            data.train,
            data.test,
            test_batch_size=options.test_batch_size,
            watch=bar.watch,
            parallel=world,
            **kept,
        ):
            if is_first:
                bar.print(str(report))
                ag.save(options.checkpoint, model, optimizer, report.progress.describe())
            if report.epoch == options.stop_after:
                break
    if is_first:
        print(f"saved {options.checkpoint}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ag.errors.AutographError, FileNotFoundError) as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        sys.exit(f"{error}\n{notes}".rstrip())
    except KeyboardInterrupt:
        sys.exit(130)

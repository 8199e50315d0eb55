#!/usr/bin/env python3
"""Sets `training_step` beside a peer, in turn, and prints the ratios.

    benches/against_peer.py [--rounds N] MODEL -- PEER COMMAND …

MODEL is one of bach, classical, muse, muse_truncated, sigmoid, generate. Both programs print one JSON line with
`tokens_per_s`, `ms_per_step` and `peak_rss_mb`; the peer's command is given whole, for example
`venv/bin/python peer_pytorch.py --model bach`. The two alternate, round by round, so that a drift of the machine's speed
meets both; the ratio is taken round by round and its median is printed. Arguments of ours go behind `--ours`:

    benches/against_peer.py bach --ours="--dtype bf16" -- venv/bin/python peer_pytorch.py --model bach --dtype bf16
"""
import argparse
import json
import shlex
import statistics
import subprocess


def measure(command):
    """The last JSON line that `command` prints."""
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", default="", help="further arguments of training_step")
    parser.add_argument("peer", nargs="+", help="the peer's command, behind --")
    arguments = parser.parse_args()
    ours = ["cargo", "bench", "-q", "--bench", "training_step", "--", arguments.model, *shlex.split(arguments.ours)]
    rounds = []
    for number in range(arguments.rounds):
        own, peer = measure(ours), measure(arguments.peer)
        ratio = own["tokens_per_s"] / peer["tokens_per_s"]
        rounds.append(ratio)
        noisy = " (noisy)" if own.get("noisy") or peer.get("noisy") else ""
        print(
            f"round {number + 1}: harness {own['tokens_per_s']:.0f} tokens/s, {own['peak_rss_mb']:.0f} MB; "
            f"peer {peer['tokens_per_s']:.0f} tokens/s, {peer['peak_rss_mb']:.0f} MB; ratio {ratio:.2f}{noisy}",
            flush=True,
        )
    print(f"{arguments.model}: median ratio {statistics.median(rounds):.2f} over {len(rounds)} rounds")


if __name__ == "__main__":
    main()

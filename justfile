# The checks of .ci/run one by one; https://just.systems runs them.

check:
    cargo fmt --check
    cargo clippy --release --locked --all-targets -- -D warnings

test *filter:
    cargo test --release --locked {{filter}}

quickstart:
    cargo run --release --locked -- run experiments/quickstart.yaml

report:
    cargo run --release --locked -- report --published --check

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps

cuda-check:
    cargo clippy --release --locked --all-targets --features cuda-check -- -D warnings

all:
    .ci/run

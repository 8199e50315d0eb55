//! A network that is read from step to step, against one that reads whole sequences.

use super::*;

#[test]
fn a_carried_state_equals_one_long_sequence_and_single_steps() {
    fn check(backend: impl Backend) {
        for (kind, whole) in windows() {
            let network = network(kind, 7, backend.clone());
            let expected = network
                .evaluate(&whole, &mut network.zero_state(2))
                .unwrap()
                .nll;
            let rows = |symbols: &Symbols, rows: std::ops::Range<usize>| match symbols {
                Symbols::Tokens(ids) => Symbols::Tokens(ids[rows].to_vec()),
                Symbols::Keys(keys) => Symbols::Keys(keys[rows].to_vec()),
            };
            let (mut state, mut generator) = (network.zero_state(2), network.generator(2));
            let mut found = Vec::new();
            for part in [0..2, 2..6] {
                let (inputs, targets) = (
                    rows(&whole.inputs, part.clone()),
                    rows(&whole.targets, part.clone()),
                );
                let batch = Batch {
                    inputs,
                    targets,
                    batch_size: 2,
                    length: part.len() / 2,
                };
                found.extend(network.evaluate(&batch, &mut state).unwrap().nll);
            }
            for (expected, found) in expected.iter().zip(&found) {
                assert!(
                    (expected - found).abs() < 1e-5 * expected,
                    "{expected} {found}"
                );
            }
            for t in 0..3 {
                generator
                    .read(&rows(&whole.inputs, 2 * t..2 * t + 2))
                    .unwrap();
            }
            assert_eq!(generator.logits().len(), 2 * network.alphabet().size());
            for (a, b) in state.arrays().iter().zip(generator.state().arrays()) {
                let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
                assert!(
                    a.values.iter().zip(&b.values).all(close),
                    "{} differs",
                    a.name
                );
            }
        }
    }
    for_each_backend!(check);
}

#[test]
fn one_sequence_is_generated_as_it_is_evaluated() {
    fn check(backend: impl Backend) {
        let inputs = [NO_TOKEN, 3, 0, 6, 6];
        let network = network(ModelKind::Token, 7, backend);
        let mut generator = network.generator(1);
        let targets = tokens(&[3, 0, 6, 6, 1]);
        let batch = Batch {
            inputs: tokens(&inputs),
            targets,
            batch_size: 1,
            length: 5,
        };
        let expected = network
            .evaluate(&batch, &mut network.zero_state(1))
            .unwrap()
            .nll;
        for (input, (target, nll)) in inputs
            .into_iter()
            .zip([3, 0, 6, 6, 1].into_iter().zip(expected))
        {
            generator.read(&tokens(&[input])).unwrap();
            let logits = generator.logits();
            let found = logits.iter().map(|l| l.exp()).sum::<f32>().ln() - logits[target];
            assert!((found - nll).abs() < 1e-5, "{found}, expected {nll}");
        }
        let coldest = sampling::Sampling {
            temperature: 0.0,
            top_k: None,
        };
        assert_eq!(
            generator
                .draw(coldest, &mut random::stream(1, "draw"))
                .len(),
            1
        );
    }
    for_each_backend!(check);
}

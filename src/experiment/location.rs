//! Where in an experiment's text a key stands: the checks after parsing know keys and no lines.

/// The line (from 1) of the dotted key that `problem` begins with, in block-style YAML; else that of the nearest key above it.
/// A key with dots in it, as under `paper:`, and the item of a list by its `id` are found, too.
pub fn line_of(text: &str, problem: &str) -> Option<usize> {
    let mut wanted = problem.split([' ', ':']).next()?;
    let (mut found, mut parent_indent) = (None, None);
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let content = content.trim_start_matches("- ");
        let is_item = content.len() + indent < line.len();
        if found.is_some() && parent_indent.is_some_and(|parent| indent <= parent && !is_item) {
            break;
        }
        let is_key = |key: &str| {
            content
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(':'))
        };
        let (key, rest) = wanted.split_once('.').unwrap_or((wanted, ""));
        if is_key(wanted) {
            return Some(number + 1);
        }
        if is_key(key) || content == format!("id: {key}") {
            (found, parent_indent, wanted) = (Some(number + 1), Some(indent), rest);
        }
    }
    found
}

/// The first two lines that set `key` at the top level.
pub fn twice(text: &str, key: &str) -> Option<(usize, usize)> {
    let mut lines = text.lines().enumerate();
    let mut next = || {
        let sets = |line: &str| {
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with(':'))
        };
        lines
            .find(|(_, line)| sets(line))
            .map(|(number, _)| number + 1)
    };
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "title: x\ntraining:\n  # why\n  seed: 1\n  epochs: 2\npaper:\n  model: here\n  training.epochs: there\nclaims:\n  - id: words\n    metric: a\n  - id: time\n    metric: b\n";

    #[test]
    fn keys_are_found_by_their_path() {
        let line = |problem| line_of(TEXT, problem);
        assert_eq!(line("training.epochs must be at least 1"), Some(5));
        assert_eq!(line("training.batch_size: too large"), Some(2));
        assert_eq!(line("paper.training.epochs explains nothing"), Some(8));
        assert_eq!(line("claims.time.metric: unknown"), Some(13));
        assert_eq!(line("claims.time: neither"), Some(12));
        assert_eq!(line("samples.count is 0"), None);
    }

    #[test]
    fn a_key_that_stands_twice_has_both_its_lines() {
        assert_eq!(twice("a: 1\nb: 2\n  a: 3\na : 4\n", "a"), Some((1, 4)));
        assert_eq!(twice("a: 1\nab: 2\n", "a"), None);
    }
}

//! `CITATION.cff`: how harness and the paper are cited. The file at the root of the repository is the one that is exported.

use serde_json::{Value, json};

/// The file's name.
pub const FILE: &str = "CITATION.cff";

/// Its text.
pub const TEXT: &str = include_str!("../../CITATION.cff");

/// The address of the paper.
pub const PAPER: &str = "https://arxiv.org/abs/1606.04930";

/// The paper, for fields that want BibTeX.
pub const BIBTEX: &str = "@article{huang2016deep, title={Deep Learning for Music}, author={Huang, Allen and Wu, Raymond}, \
                          journal={arXiv preprint arXiv:1606.04930}, year={2016}}";

/// Where its authors worked.
const UNIVERSITY: &str = "https://www.stanford.edu/";

/// The paper as entities of a graph: the article, its authors, and where they worked.
pub fn paper() -> Vec<Value> {
    let person = |id: &str, name: &str| json!({ "@id": id, "@type": "Person", "name": name, "affiliation": { "@id": UNIVERSITY } });
    vec![
        json!({
            "@id": PAPER,
            "@type": "ScholarlyArticle",
            "name": "Deep Learning for Music",
            "author": [{ "@id": "#huang" }, { "@id": "#wu" }],
            "datePublished": "2016",
        }),
        person("#huang", "Allen Huang"),
        person("#wu", "Raymond Wu"),
        json!({
            "@id": UNIVERSITY,
            "@type": "Organization",
            "name": "Stanford University",
            "url": UNIVERSITY,
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_citation_is_of_this_version_and_names_the_paper_as_the_graph_does() {
        let cited: Value = serde_yaml::from_str(TEXT).unwrap();
        assert_eq!(cited["version"], env!("CARGO_PKG_VERSION"));
        let licences: Vec<&str> = env!("CARGO_PKG_LICENSE").split(" OR ").collect();
        assert_eq!(cited["license"], json!(licences));
        let article = &cited["references"][0];
        assert_eq!(article["url"], PAPER);
        let author = |index: usize| {
            let author = &article["authors"][index];
            let part = |key: &str| author[key].as_str().unwrap().to_owned();
            format!("{} {}", part("given-names"), part("family-names"))
        };
        let paper = paper();
        assert_eq!(article["title"], paper[0]["name"]);
        assert_eq!(author(0), paper[1]["name"]);
        assert_eq!(author(1), paper[2]["name"]);
    }
}

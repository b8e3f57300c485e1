//! The styles, scripts and shapes of the pages, which are part of the program.

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, content type and content of each.
const ASSETS: [(&str, &str, &str); 9] = [
    ("page.css", STYLE, include_str!("assets/page.css")),
    ("page.js", SCRIPT, include_str!("assets/page.js")),
    ("drawing.css", STYLE, include_str!("assets/drawing.css")),
    ("drawing.js", SCRIPT, include_str!("assets/drawing.js")),
    ("geometry.js", SCRIPT, include_str!("assets/geometry.js")),
    ("setup.js", SCRIPT, include_str!("assets/setup.js")),
    ("sites.js", SCRIPT, include_str!("assets/sites.js")),
    ("sketch.js", SCRIPT, include_str!("assets/sketch.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Content type and content of what pages name `/assets/NAME`.
pub(super) fn asset(name: &str) -> Option<(&'static str, &'static str)> {
    ASSETS.iter().find(|(known, ..)| *known == name).map(|(_, kind, content)| (*kind, *content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_script_imports_is_there() {
        let mut imports = 0;
        for (name, _, content) in ASSETS {
            for part in content.split(" from \"./").skip(1) {
                let imported = part.split('"').next().unwrap_or_default();
                assert!(asset(imported).is_some(), "{name} imports {imported}");
                imports += 1;
            }
        }
        assert!(imports >= 5, "only {imports} imports were found");
        assert_eq!(asset("../page.css"), None);
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for (name, _, content) in ASSETS {
            // A name space is no address.
            let content = content.replace("http://www.w3.org/2000/svg", "");
            for absent in ["http:", "https:", "@import", "url(", "eval(", "innerHTML"] {
                assert!(!content.contains(absent), "{name}: {absent}");
            }
        }
    }
}

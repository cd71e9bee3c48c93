//! `<dataflow>` on the command line: a directory with a `dataflow.sql`, or a path to a `.sql` file.

use std::path::{Path, PathBuf};

use crate::compile::diagnostic;
use crate::error::{Error, Result};
use crate::nearest::nearest;

/// Where a dataflow is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataflowPath {
    /// That of the directory, or of the file without `.sql`.
    pub name: String,
    /// Where relative paths of the dataflow start.
    pub directory: PathBuf,
    /// The SQL file.
    pub file: PathBuf,
}

impl DataflowPath {
    /// Finds the file that an argument means. A name alone is looked for in `dataflows/`, too.
    pub fn find(argument: &Path) -> Result<DataflowPath> {
        let below = Path::new("dataflows").join(argument);
        if argument.is_file() {
            return DataflowPath::of_file(argument);
        }
        for directory in [argument, &below] {
            let file = directory.join("dataflow.sql");
            if file.is_file() {
                return DataflowPath::of_directory(directory, file);
            }
        }
        Err(missing(argument))
    }

    /// The SQL text.
    pub fn read(&self) -> Result<String> {
        let bytes = std::fs::read(&self.file).map_err(|error| {
            Error::config(format!("cannot read '{}'", self.file.display())).caused_by(error)
        })?;
        Ok(diagnostic::text(&self.file.display().to_string(), bytes)?)
    }

    fn of_file(file: &Path) -> Result<DataflowPath> {
        let directory = match file.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("."),
        };
        if file.file_name().is_some_and(|name| name == "dataflow.sql") {
            return DataflowPath::of_directory(directory, file.to_path_buf());
        }
        if file.extension().is_none_or(|extension| extension != "sql") {
            let message = format!("'{}' is not a .sql file", file.display());
            return Err(Error::config(message).hint("name a directory with a dataflow.sql, or a .sql file"));
        }
        Ok(DataflowPath {
            name: name_of(file)?,
            directory: directory.to_path_buf(),
            file: file.to_path_buf(),
        })
    }

    fn of_directory(directory: &Path, file: PathBuf) -> Result<DataflowPath> {
        // `.` and `..` have no name until they are resolved.
        let resolved = directory.canonicalize().map_err(|error| {
            Error::config(format!("cannot open '{}'", directory.display())).caused_by(error)
        })?;
        let name = resolved.file_name().and_then(|name| name.to_str()).map(str::to_string);
        let name =
            name.ok_or_else(|| Error::config(format!("'{}' has no name in UTF-8", directory.display())))?;
        Ok(DataflowPath { name, directory: directory.to_path_buf(), file })
    }
}

fn name_of(file: &Path) -> Result<String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_string)
        .ok_or_else(|| Error::config(format!("'{}' has no name in UTF-8", file.display())))
}

fn missing(argument: &Path) -> Error {
    if argument.is_dir() {
        let message = format!("no dataflow.sql in '{}'", argument.display());
        return Error::config(message).hint("name a directory with a dataflow.sql, or a .sql file");
    }
    let error = Error::config(format!("no dataflow '{}'", argument.display()));
    let known = shipped(Path::new("dataflows"));
    let wanted = argument.file_name().unwrap_or_default().to_string_lossy();
    match nearest(&wanted, &known) {
        Some(name) => error.hint(format!("did you mean dataflows/{name}?")),
        None if known.is_empty() => error.hint("name a directory with a dataflow.sql, or a .sql file"),
        None => error.hint(format!("dataflows/ has {}", known.join(", "))),
    }
}

/// Names of the directories that hold a dataflow.
fn shipped(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter(|entry| entry.path().join("dataflow.sql").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("fleet")).expect("a folder");
        for file in ["fleet/dataflow.sql", "own.sql", "notes.txt"] {
            std::fs::write(folder.path().join(file), "SELECT 1").expect("a file");
        }
        folder
    }

    #[test]
    fn directory_and_files_are_found() {
        let folder = folder();
        let fleet = folder.path().join("fleet");
        let by_directory = DataflowPath::find(&fleet).expect("found");
        assert_eq!((by_directory.name.as_str(), &by_directory.directory), ("fleet", &fleet));
        assert_eq!(DataflowPath::find(&fleet.join("dataflow.sql")).expect("found"), by_directory);
        assert_eq!(DataflowPath::find(&fleet.join(".")).expect("found").name, "fleet");
        let own = DataflowPath::find(&folder.path().join("own.sql")).expect("found");
        assert_eq!((own.name.as_str(), own.directory.as_path()), ("own", folder.path()));
        assert_eq!(own.read().expect("text"), "SELECT 1");
    }

    #[test]
    fn what_is_not_there_is_refused_with_a_hint() {
        let folder = folder();
        let refused =
            |path: &str| DataflowPath::find(&folder.path().join(path)).expect_err("refused").to_string();
        assert!(refused("notes.txt").contains("is not a .sql file"));
        assert!(refused(".").contains("no dataflow.sql in"));
        assert!(refused("flet").contains("no dataflow '"));
        assert_eq!(shipped(folder.path()), ["fleet"]);
    }
}

//! A git repository with an app in it.

use std::path::Path;

use tempfile::TempDir;

use super::Person;

/// A working tree that belongs to a person, with a `gigalixir` remote once [`Project::create_app`] has run.
pub struct Project {
    folder: TempDir,
    pub app: String,
}

/// A web app in one file: answers its greeting, its release and its pid; `/env/NAME` shows a variable.
const SERVER: &str = include_str!("server.py");

impl Project {
    /// A Procfile app whose answer begins with `greeting`, committed, and its app on the platform.
    pub fn greeting(person: &Person, app: &str, greeting: &str) -> Self {
        let project = Self::empty(person, app);
        project.greet_by_python(person, greeting);
        project.create_app(person);
        project
    }

    /// Makes an empty repository a Procfile app whose answer begins with `greeting`, and commits.
    pub fn greet_by_python(&self, person: &Person, greeting: &str) {
        self.write("Procfile", "web: python3 -u server.py\n");
        self.write("server.py", SERVER);
        self.write("greeting.txt", greeting);
        self.commit(person, "first");
    }

    /// A repository without a commit; its app is not made yet.
    pub fn empty(person: &Person, app: &str) -> Self {
        let project = Self { folder: tempfile::tempdir().expect("project"), app: app.to_owned() };
        person.git(&project, &["init", "-q", "-b", "master"]).ok();
        project
    }

    /// A copy of a folder of `examples/`, committed, and its app on the platform.
    pub fn example(person: &Person, app: &str, name: &str) -> Self {
        let project = Self::empty(person, app);
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        copy(&from, project.path());
        project.commit(person, "example");
        project.create_app(person);
        project
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("write");
    }

    pub fn commit(&self, person: &Person, message: &str) {
        person.git(self, &["add", "-A"]).ok();
        person.git(self, &["commit", "-q", "--allow-empty", "-m", message]).ok();
    }

    /// `gigalixir create -n APP`, which sets the remote too.
    pub fn create_app(&self, person: &Person) {
        let printed = person.run_in(self, &["create", "-n", &self.app]).ok();
        assert_eq!(printed.trim(), self.app);
    }

    /// Changes the greeting and commits.
    pub fn greet(&self, person: &Person, greeting: &str) {
        self.write("greeting.txt", greeting);
        self.commit(person, greeting);
    }

    /// The same over the API's plain address, whatever the remote says.
    #[track_caller]
    pub fn push_to(&self, person: &Person, server: &super::Server) -> String {
        let url = format!("{}/{}.git", server.url(), self.app);
        person.git(self, &["push", &url, "HEAD:refs/heads/master"]).ok_stderr()
    }

    /// `git push gigalixir HEAD:master`; what git prints.
    #[track_caller]
    pub fn push(&self, person: &Person) -> String {
        person.git(self, &["push", "gigalixir", "HEAD:refs/heads/master"]).ok_stderr()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder");
    for entry in std::fs::read_dir(from).expect("example").flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copy");
        }
    }
}

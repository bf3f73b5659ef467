//! The configuration of a test gateway. The only place where tests spell TOML keys.

use std::fmt::Write as _;
use std::path::Path;

use farebox_testkit::ScriptedUpstream;

/// A configuration file in the making: mock money, SQLite in the test's own folder, free ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    server: String,
    lightning: Option<String>,
    is_without_lightning: bool,
    sections: String,
    routes: Vec<Route>,
}

/// One `[[route]]`, without a price until one is given (which the gateway refuses).
#[derive(Clone, Debug)]
pub(crate) struct Route(String);

impl Setup {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// A line for `[server]`, such as `trusted_proxies = ["127.0.0.0/8"]`.
    pub(crate) fn server(mut self, line: &str) -> Self {
        writeln!(self.server, "{line}").unwrap();
        self
    }

    /// The lines of `[lightning]`, in the place of mock money.
    pub(crate) fn lightning(mut self, lines: &str) -> Self {
        self.lightning = Some(lines.to_owned());
        self
    }

    /// No Lightning at all.
    pub(crate) fn without_lightning(mut self) -> Self {
        self.is_without_lightning = true;
        self
    }

    /// Whole sections of their own, header included.
    pub(crate) fn section(mut self, toml: &str) -> Self {
        writeln!(self.sections, "{toml}\n").unwrap();
        self
    }

    /// The file, for a gateway whose store lies in `folder`. Port 0 asks for any free one.
    pub(crate) fn to_toml(
        &self,
        folder: &Path,
        (gateway_port, console_port): (u16, u16),
    ) -> String {
        let store = folder.join("farebox.db");
        let mut toml = format!(
            "[server]\n\
             listen = \"127.0.0.1:{gateway_port}\"\n\
             {server}\n\
             [console]\n\
             listen = \"127.0.0.1:{console_port}\"\n\n\
             [store]\n\
             url = \"sqlite://{store}\"\n\n\
             {lightning}\n\n\
             {sections}",
            server = self.server,
            store = store.display(),
            lightning = if self.is_without_lightning {
                String::new()
            } else {
                let lines = self.lightning.as_deref();
                format!("[lightning]\n{}", lines.unwrap_or("backend = \"mock\""))
            },
            sections = self.sections,
        );
        for route in &self.routes {
            writeln!(toml, "[[route]]\n{}", route.0).unwrap();
        }
        toml
    }
}

impl Route {
    /// A route for `prefix` (also its name, with other characters as dashes) to `upstream`.
    pub(crate) fn at(prefix: &str, upstream: &ScriptedUpstream) -> Self {
        Self::to(prefix, &upstream.url())
    }

    /// A route for `prefix` to any URL.
    pub(crate) fn to(prefix: &str, upstream_url: &str) -> Self {
        let name = prefix
            .trim_matches('/')
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let name = if name.is_empty() { "root" } else { &name };
        Self(format!(
            "name = \"{name}\"\npath = \"{prefix}\"\nupstream = \"{upstream_url}\"\n"
        ))
    }

    /// One call for so much.
    pub(crate) fn msat(self, msat: u64) -> Self {
        self.line(&format!("price = {{ msat = {msat} }}"))
    }

    pub(crate) fn free(self) -> Self {
        self.line("price = \"free\"")
    }

    /// One payment buys so many calls.
    pub(crate) fn calls(self, calls: u32) -> Self {
        self.line(&format!("calls = {calls}"))
    }

    /// Tokens are good for any request on the route, not only for the one they were bought for.
    pub(crate) fn bound_to_route(self) -> Self {
        self.line("bind = \"route\"")
    }

    /// Any further line of the route's table.
    pub(crate) fn line(mut self, line: &str) -> Self {
        writeln!(self.0, "{line}").unwrap();
        self
    }
}

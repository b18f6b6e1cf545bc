//! HOW IS A VALUE WRITTEN? The forms of settings, with examples that are right anywhere.

use Form::*;

/// How the value of a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// On or off; as a flag it needs no value.
    Switch,
    /// A whole number.
    Count,
    /// A number with `ms`, `s`, `m`, `h` or `d`, or several of them; ranges are in milliseconds.
    Time,
    /// A [`Form::Time`] that may leave out the unit, meaning seconds.
    Seconds,
    /// A number with `B`, `KB`, `KiB` ... `GiB`; ranges are in octets.
    Size,
    /// A [`Form::Size`], or `off`.
    SizeOrOff,
    /// One of the words of this list, separated by `|`.
    Choice(&'static str),
    /// The name of a file.
    File,
    /// A [`Form::File`], or `off`.
    FileOrOff,
    /// Names of files: repeatable, and comma lists.
    FileNames,
    /// Files with certificates, each perhaps with the file of its key behind it: repeatable, and comma lists.
    Certificates,
    /// A folder.
    Folder,
    /// An address to listen on, or `off`.
    Admin,
    /// Addresses to listen on: repeatable, and comma lists.
    Listens,
    /// Upstream URLs: repeatable, and comma lists.
    Urls,
    /// Networks in CIDR notation: repeatable, and comma lists.
    Networks,
    /// Addresses of servers, with ports: repeatable, and comma lists.
    Servers,
    /// Names of protocols: repeatable, and comma lists.
    Protocols,
    /// Names of fields: repeatable, and comma lists.
    Fields,
    /// Hosts, exact or `*.` and a domain: repeatable, and comma lists.
    Hosts,
    /// Paths, exact or with `/*` at the end: repeatable, and comma lists.
    Paths,
    /// Paths of the admin that clients may see: repeatable, and comma lists.
    Pages,
    /// The name of a server, or `off`.
    ServerName,
    /// Names and addresses of servers: repeatable, and comma lists.
    ServerNames,
    /// Methods: repeatable, and comma lists.
    Methods,
    /// Lines `Name: value`: repeatable; in a file a table of names and values.
    Lines,
    /// `name` or `name=value`: repeatable; in a file a table of names and values.
    Pairs,
    /// Pools, with weights where there are several: `name` or `name=weight`; in a file a table of names and weights.
    Shares,
    /// Names of files that have more settings; a star stands for any name.
    Files,
    /// A name of our own making.
    Name,
    /// The beginning of a path.
    Prefix,
    /// A text, perhaps with placeholders.
    Text,
    /// A text that stands for itself.
    Literal,
    /// A text that is shown to nobody.
    Secret,
    /// A [`Form::Count`], or `off`.
    CountOrOff,
    /// A [`Form::Time`], or `off`.
    TimeOrOff,
    /// A whole number with `%`.
    Percent,
    /// Statuses and ranges of them: repeatable, and comma lists.
    Statuses,
    /// `connect`, `timeout`, `closed`, `5xx`, statuses and ranges of them: repeatable, and comma lists.
    Failures,
    /// The part of a request that is hashed.
    HashKey,
    /// The name of a cookie, or `off`.
    Cookie,
    /// The target of a request: a path, and perhaps a query.
    Target,
    /// A host, perhaps with a port, or `off`.
    Authority,
    /// An IP address, or `off`.
    Address,
    /// A [`Form::Time`], `once` or `srv`.
    Resolve,
    /// Lists by name, networks and addresses, or `off`: repeatable, and comma lists.
    NetworkNames,
    /// Names of lists, and what is in them: in a file a table of names and networks.
    Lists,
    /// Fields and the claims in them: repeatable, and comma lists; in a file a table of names and claims.
    Claims,
    /// Media types, `text/*` among them: repeatable, and comma lists.
    MediaTypes,
    /// A number of requests in a second, minute or hour.
    Rate,
    /// What requests have in common that are counted together.
    LimitKey,
    /// Tokens, each perhaps with a name and roles behind it: repeatable.
    Tokens,
    /// `name:hash`, perhaps with roles behind it: repeatable.
    Users,
    /// A key: many lines.
    Key,
    /// The URL or the file of a key set.
    KeySet,
    /// Names of signature algorithms: repeatable, and comma lists.
    Algorithms,
    /// Texts that stand for themselves: repeatable, and comma lists.
    Texts,
    /// A URL that is asked.
    AskedUrls,
    /// One whose scheme is `https`.
    SecureUrl,
    /// Names of hosts, and no addresses: repeatable, and comma lists.
    HostNames,
    /// An address of mail.
    Mail,
    /// Names of things of our own making, or `off`: repeatable, and comma lists.
    Names,
    /// Roles: repeatable, and no comma lists, as a certificate's subject has commas.
    Roles,
    /// Origins, `https://*.example.org` among them, or `*`: repeatable, and comma lists.
    Origins,
}

impl Form {
    /// The placeholder behind the flag in the help.
    pub fn placeholder(self) -> &'static str {
        match self {
            Switch => "",
            Count => "N",
            Time | Seconds => "TIME",
            Size => "SIZE",
            SizeOrOff => "SIZE|off",
            Choice(words) => words,
            File | FileNames | Certificates => "PATH",
            FileOrOff => "PATH|off",
            Folder => "DIR",
            Admin => "ADDR|off",
            Listens => "ADDR",
            Urls => "URL",
            Networks => "CIDR",
            Servers => "IP:PORT",
            Protocols | Fields | Name => "NAME",
            Hosts | ServerNames | HostNames => "HOST",
            ServerName => "HOST|off",
            Paths | Pages => "PATH",
            Methods => "METHOD",
            Lines => "'NAME: VALUE'",
            Pairs => "NAME=VALUE",
            Shares => "POOL",
            Files => "FILE",
            Prefix => "PATH",
            Text | Literal => "TEXT",
            Secret => "SECRET|off",
            CountOrOff => "N|off",
            TimeOrOff => "TIME|off",
            Percent => "PERCENT",
            Statuses => "STATUS",
            Failures => "FAILURE",
            HashKey => "KEY",
            Cookie => "NAME|off",
            Target => "PATH",
            Authority => "HOST|off",
            Address => "IP|off",
            Resolve => "TIME|once|srv",
            NetworkNames => "LIST|CIDR",
            Lists => "NAME=CIDR",
            Claims => "NAME=CLAIM",
            MediaTypes => "TYPE",
            Rate => "N/s",
            LimitKey => "KEY",
            Tokens => "TOKEN",
            Users => "NAME:HASH",
            Key => "KEY",
            KeySet => "URL|FILE",
            Algorithms => "NAME",
            Texts => "TEXT",
            AskedUrls | SecureUrl => "URL",
            Mail => "ADDRESS",
            Names => "NAME",
            Roles => "ROLE",
            Origins => "ORIGIN",
        }
    }

    /// How its numbers are written, where words are possible as well.
    pub fn of_number(self) -> Form {
        match self {
            TimeOrOff | Resolve => Time,
            CountOrOff => Count,
            form => form,
        }
    }

    /// There may be several values.
    pub fn takes_list(self) -> bool {
        self.separates() || matches!(self, Lines | Pairs | Shares | Lists | Tokens | Users | Roles)
    }

    /// A comma goes between several values.
    pub fn separates(self) -> bool {
        matches!(
            self,
            Listens
                | Urls
                | Networks
                | Servers
                | Protocols
                | Fields
                | Hosts
                | Paths
                | Pages
                | Methods
                | Files
                | FileNames
                | Certificates
                | ServerNames
                | HostNames
                | Statuses
                | Failures
                | NetworkNames
                | MediaTypes
                | Claims
                | Algorithms
                | Texts
                | Names
                | Origins
        )
    }

    /// In a file it may be a table of names and values; what goes between the two where it is a text.
    pub fn of_pairs(self) -> Option<&'static str> {
        match self {
            Lines => Some(": "),
            Pairs | Shares | Lists | Claims => Some("="),
            _ => None,
        }
    }

    /// Files are named, and nothing that stands in them.
    pub fn names_files(self) -> bool {
        matches!(self, File | FileOrOff | Files | FileNames | Certificates | KeySet)
    }

    /// Whatever stands there is shown to nobody.
    pub fn is_secret(self) -> bool {
        matches!(self, Secret | Tokens | Users | Key)
    }

    /// A value that begins with `@` above the file is the name of a file that holds it.
    pub fn may_be_in_file(self) -> bool {
        self.is_secret() || matches!(self, NetworkNames)
    }

    /// Advice where nothing is known of what was meant.
    pub fn example(self) -> String {
        let (noun, examples) = self.examples();
        match examples.split_last() {
            None => format!("write {noun}"),
            Some((only, [])) => format!("write {noun} such as {only}"),
            Some((last, others)) => format!("write {noun} such as {} or {last}", others.join(", ")),
        }
    }

    /// The name of such a value, and examples that are right anywhere.
    pub fn examples(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Switch => ("one of", &["on", "off"]),
            Count => ("digits only,", &["100"]),
            Time | Seconds => ("a duration", &["500ms", "30s", "5m", "1h"]),
            Size => ("a size", &["8KiB", "16KiB"]),
            SizeOrOff => ("a size", &["64KiB", "10MB", "1GiB", "off"]),
            Choice(_) => ("one of its words", &[]),
            File | FileNames | Certificates => ("the path of a file", &[]),
            FileOrOff => ("the path of a file", &["off"]),
            Folder => ("the path of a folder", &[]),
            Admin => ("an address", &["127.0.0.1:8082", "unix:/run/admin.sock", "off"]),
            Listens => (
                "an address",
                &[":8080", "127.0.0.1:8080", "[::1]:8080", "unix:/run/tidegate.sock"],
            ),
            Urls => ("a URL", &["http://127.0.0.1:9001", "http://unix:/run/app.sock"]),
            Networks => ("a network", &["10.0.0.0/8", "fd00::/8", "192.0.2.7"]),
            Servers => ("an address", &["127.0.0.1:53", "[::1]:53"]),
            Protocols => ("the name of a protocol", &["tcp"]),
            Fields => ("the name of a field", &["True-Client-IP", "X-Original-URL"]),
            Hosts => ("a host", &["example.org", "*.example.org"]),
            ServerName => ("the name of a server", &["example.org", "off"]),
            ServerNames => ("a name or an address", &["localhost", "127.0.0.1"]),
            Paths => ("a path", &["/login", "/api/*"]),
            Pages => ("one of", &["/health", "/ready", "/metrics", "/status"]),
            Methods => ("a method", &["GET", "POST"]),
            Lines => ("a line", &["X-Frame-Options:DENY"]),
            Pairs => ("a pair", &["name=value"]),
            Shares => ("the name of a pool", &[]),
            Files => ("the name of a file", &["sites/*.toml"]),
            Name => ("a name of letters, digits, - and _,", &["shop", "api-v1"]),
            Prefix => ("the beginning of a path", &["/v1"]),
            Text | Literal => ("a text", &[]),
            Secret => ("a text of at least 16 octets", &[]),
            CountOrOff => ("digits only,", &["100", "off"]),
            TimeOrOff => ("a duration", &["30s", "5m", "1h", "off"]),
            Percent => ("a share", &["20%"]),
            Statuses => ("a status", &["200", "200-399"]),
            Failures => ("a failure", &["connect", "timeout", "closed", "5xx", "502-504"]),
            HashKey => ("a key", &["client", "path", "uri", "header:X-Tenant", "cookie:session"]),
            Cookie => ("the name of a cookie", &["tg", "off"]),
            Target => ("a path", &["/", "/healthz"]),
            Authority => ("a host", &["example.org", "example.org:8080", "off"]),
            Address => ("an address", &["192.0.2.7", "2001:db8::7", "off"]),
            Resolve => ("a duration", &["10s", "1m", "once"]),
            NetworkNames => ("a network", &["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]),
            Lists => ("a name and a network", &["office=192.0.2.0/24"]),
            Claims => ("a field and a claim", &["X-User=sub"]),
            MediaTypes => ("a media type", &["application/json", "text/*"]),
            Rate => ("a rate", &["20/s", "600/m", "1000/h"]),
            LimitKey => {
                ("a key", &["client", "token", "user", "host", "route", "header:X-Tenant", "all"])
            }
            Tokens => ("a text of at least 16 octets", &[]),
            Users => ("a name and the hash of a password", &[]),
            Key => ("a public key in PEM, or a secret", &[]),
            KeySet => ("a URL or a file", &["http://127.0.0.1:9000/jwks.json"]),
            Algorithms => ("an algorithm", &["ES256", "RS256", "EdDSA"]),
            Texts => ("a text", &["https://id.example.org/", "shop"]),
            AskedUrls => ("a URL", &["http://127.0.0.1:9000/auth"]),
            HostNames => ("the name of a host", &["example.org", "www.example.org"]),
            SecureUrl => ("a URL", &["https://ca.example.org/directory"]),
            Mail => ("an address of mail", &["ops@example.org"]),
            Names => ("a name of letters, digits, - and _,", &["client", "off"]),
            Roles => ("a role of letters, digits, - and _,", &["writer", "CN=billing,O=Our Inc."]),
            Origins => ("an origin", &["https://app.example.org", "https://*.example.org"]),
        }
    }
}

//! The command line as argh sees it: every command, and every spelling of every setting.

use std::net::IpAddr;
use std::str::FromStr;

use argh::FromArgs;

use super::command_line::{ShowForm, Subcommand};
use super::diagnostics::{Diagnostic, wrong};
use super::given::{Given, Origin};
use super::order::{Look, Order, Question, UpstreamOrder, Verb};
use super::plan::Listen;
use super::shell::Shell;
use super::table::{self, Setting};
use super::{conditions, listeners, places};
use crate::http::grammar;

/// Every command, as users write it.
pub const COMMANDS: [&str; 19] = [
    "check",
    "explain",
    "config show",
    "config show --origin",
    "config schema",
    "status",
    "top",
    "health",
    "add",
    "remove",
    "drain",
    "undrain",
    "weight",
    "reload",
    "upgrade",
    "completions bash",
    "completions zsh",
    "completions fish",
    "man",
];

/// The first words of all commands, each once.
pub fn first_words() -> Vec<&'static str> {
    let mut words: Vec<&str> =
        COMMANDS.iter().filter_map(|command| command.split(' ').next()).collect();
    words.dedup();
    words
}

/// Declares the command line for argh, with a field for each spelling of each setting.
macro_rules! line {
    ($($field:ident)*) => {
        /// The command line as argh sees it; what each option means stands in `table`.
        #[derive(FromArgs)]
        pub struct ParsedLine {
            $(
                /// a setting
                #[argh(option)]
                $field: Vec<String>,
            )*
            #[argh(subcommand)]
            command: Option<Sub>,
        }

        impl ParsedLine {
            /// Every option with its values.
            pub fn options(self) -> Vec<(String, Vec<String>)> {
                vec![$((stringify!($field).replace('_', "-"), self.$field)),*]
            }
        }
    };
}

line! {
    tls_cert tls_key tls_self_signed tls_acme tls_acme_directory tls_acme_contact
    tls_acme_challenge tls_acme_ca tls_acme_eab_kid tls_acme_eab_key
    tls_min_version tls_client_ca tls_crl client_cert
    upstream_tls_ca upstream_tls_server_name upstream_tls_cert upstream_tls_key upstream_tls_verify
    listen upstream backends backend admin admin_token proxy_protocol workers
    allow deny content_type
    limit_rate limit_burst limit_by limit_window limit_keys limit_dry_run rate_limit
    security_headers cors_origin cors_method cors_header cors_expose cors_credentials cors_max_age
    auth_header auth_pass auth_token api_key auth_user auth_jwks auth_refresh auth_key
    auth_algorithm auth_issuer auth_audience auth_leeway auth_role auth_forward
    auth_url auth_timeout auth_copy auth_cache
    path paths method serve_admin request_header response_header
    balance hash sticky_cookie sticky_max_age sticky_secret slow_start
    queue_max_requests queue_size queue_wait
    resolve resolver upstream_max_age upstream_max_requests upstream_keep_alive upstream_bind
    upstream_proxy_protocol min_rate max_client_connections access_log_audit
    max_retries retry_on retry_budget try_timeout hedge retry_buffer
    health health_path health_method health_host health_status health_body
    health_interval health_timeout health_fall health_rise
    breaker breaker_failures breaker_open breaker_probes breaker_on breaker_fail_open
    host_header backend_header trusted_proxy trusted_header allow_upgrade half_close
    read_timeout write_timeout connect_timeout response_timeout
    idle_timeout upstream_idle_timeout tunnel_idle_timeout expect_timeout
    drain_delay drain_timeout
    max_head max_target max_fields max_body max_connections buffers max_upstream_idle
    access_log access_log_file log log_format
    config state watch env_file strict demo
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Sub {
    Explain(ExplainWord),
    Upgrade(UpgradeWord),
    Status(StatusWord),
    Top(TopWord),
    Health(HealthWord),
    Man(ManWord),
    Completions(CompletionsWord),
    Check(CheckWord),
    Config(ConfigWord),
    Reload(ReloadWord),
    Add(AddWord),
    Remove(RemoveWord),
    Drain(DrainWord),
    Undrain(UndrainWord),
    Weight(WeightWord),
}

/// say whether the settings are fine
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
struct CheckWord {
    /// for programs
    #[argh(switch)]
    json: bool,
}

/// say which route a request takes, and what leaves
#[derive(FromArgs)]
#[argh(subcommand, name = "explain")]
struct ExplainWord {
    /// METHOD and URL
    #[argh(positional)]
    request: String,
    /// field lines
    #[argh(option)]
    field: Vec<String>,
    /// who asks
    #[argh(option)]
    client: Option<IpAddr>,
    /// the address it comes in at
    #[argh(option)]
    at: Option<Listen>,
}

/// Declares commands without arguments for argh: `Struct "word" "what it does"`.
macro_rules! plain_words {
    ($($word:ident $name:literal $about:literal;)*) => {
        $(
            #[doc = $about]
            #[derive(FromArgs)]
            #[argh(subcommand, name = $name)]
            struct $word {}
        )*
    };
}

plain_words! {
    ReloadWord "reload" "have a running tidegate read its settings anew";
    UpgradeWord "upgrade" "have a running tidegate hand over to a new process";
    StatusWord "status" "show a running tidegate at a glance";
    TopWord "top" "show it again and again";
    HealthWord "health" "exit with 0 if a running tidegate is ready";
    ManWord "man" "print the manual page";
    SchemaWord "schema" "print the JSON Schema of the configuration file";
}

/// print completions for a shell
#[derive(FromArgs)]
#[argh(subcommand, name = "completions")]
struct CompletionsWord {
    /// bash, zsh or fish
    #[argh(positional)]
    shell: Shell,
}

/// Declares the commands about one upstream for argh: `Struct "word" "what it does"`.
macro_rules! upstream_words {
    ($($word:ident $name:literal $about:literal;)*) => {
        $(
            #[doc = $about]
            #[derive(FromArgs)]
            #[argh(subcommand, name = $name)]
            struct $word {
                /// the upstream
                #[argh(positional)]
                url: String,
                /// its pool
                #[argh(option)]
                pool: Option<String>,
                /// its share of the requests
                #[argh(option)]
                weight: Option<u32>,
            }

            impl $word {
                fn order(&self, verb: Verb) -> Subcommand {
                    let $word { url, pool, weight } = self;
                    let (url, pool, weight) = (url.clone(), pool.clone(), *weight);
                    Subcommand::Ask(Order::Upstream(UpstreamOrder { verb, url, pool, weight }))
                }
            }
        )*
    };
}

upstream_words! {
    AddWord "add" "have a running tidegate send requests to one more upstream";
    RemoveWord "remove" "have it do without an upstream";
    DrainWord "drain" "have it send an upstream no new requests";
    UndrainWord "undrain" "have it send an upstream requests again";
    WeightWord "weight" "have it send an upstream another share of the requests";
}

/// look at the settings
#[derive(FromArgs)]
#[argh(subcommand, name = "config")]
struct ConfigWord {
    #[argh(subcommand)]
    then: ConfigSub,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum ConfigSub {
    Show(ShowWord),
    Schema(SchemaWord),
}

/// print every setting
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct ShowWord {
    /// also where each came from
    #[argh(switch)]
    origin: bool,
    /// env, toml or json
    #[argh(option, default = "ShowForm::Env")]
    format: ShowForm,
}

/// An option of some commands, which is no setting.
pub struct CommandOption {
    /// As users write it.
    pub flag: &'static str,
    /// As argh calls it.
    pub field: &'static str,
    pub example: &'static str,
    /// All its values, separated by blanks; empty: there are more than can be told.
    pub words: &'static str,
    /// For completions and the manual page.
    pub about: &'static str,
    pub check: fn(&str) -> Result<(), Diagnostic>,
}

/// A field line of a request, under two names.
const FIELD: CommandOption = CommandOption {
    flag: "--field",
    field: "--field",
    example: "'Name: value'",
    words: "",
    about: "A field line of the request (explain)",
    check: field_line,
};

/// Options with a value.
pub const OPTIONS: [CommandOption; 7] = [
    CommandOption {
        flag: "--pool",
        field: "--pool",
        example: "shop",
        words: "",
        about: "The pool of the upstream (add, remove, drain, undrain, weight)",
        check: |text| conditions::name(text).map(drop),
    },
    CommandOption {
        flag: "--weight",
        field: "--weight",
        example: "3",
        words: "",
        about: "The weight of the upstream (add, weight)",
        check: |text| match places::weight(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(wrong("this is not a weight", "write a number from 1 to 256")),
        },
    },
    CommandOption {
        flag: "--format",
        field: "--format",
        example: "toml",
        words: "env toml json",
        about: "env, toml or json (config show)",
        check: |text| match ShowForm::from_str(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(wrong("this is none of env, toml and json", "name one of them")),
        },
    },
    CommandOption { flag: "-H", ..FIELD },
    FIELD,
    CommandOption {
        flag: "--client",
        field: "--client",
        example: "192.0.2.7",
        words: "",
        about: "Who asks (explain)",
        check: |text| match IpAddr::from_str(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(wrong("this is not an IP address", "write one such as 192.0.2.7")),
        },
    },
    CommandOption {
        flag: "--at",
        field: "--at",
        example: ":8080",
        words: "",
        about: "Where the request comes in (explain)",
        check: |text| match listeners::client_address(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(wrong("this is not an address", "write an address such as :8080")),
        },
    },
];
/// Options without a value.
pub const SWITCHES: [(&str, &str); 2] = [
    ("--origin", "Also where each setting came from (config show)"),
    ("--json", "For programs (check)"),
];

impl CommandOption {
    /// The option that is written so.
    pub fn find(flag: &str) -> Option<&'static CommandOption> {
        const ALL: &[CommandOption] = &OPTIONS;
        ALL.iter().find(|option| option.flag == flag)
    }
}

fn field_line(text: &str) -> Result<(), Diagnostic> {
    match text.split_once(':') {
        Some((name, _)) if grammar::is_token(name.as_bytes()) => Ok(()),
        _ => Err(wrong("this is not a field line", "it has a name, a colon and a value")),
    }
}

impl FromStr for ShowForm {
    type Err = String;

    fn from_str(text: &str) -> Result<ShowForm, String> {
        match text {
            "env" => Ok(ShowForm::Env),
            "toml" => Ok(ShowForm::Toml),
            "json" => Ok(ShowForm::Json),
            _ => Err("env, toml or json".to_owned()),
        }
    }
}

impl ExplainWord {
    fn question(&self) -> Question {
        let ExplainWord { request, field, client, at } = self;
        let (request, fields) = (request.clone(), field.clone());
        Question { request, fields, client: *client, listen: at.clone() }
    }
}

impl ParsedLine {
    /// What to do.
    pub fn command(&self) -> Subcommand {
        match &self.command {
            None => Subcommand::Run,
            Some(Sub::Check(CheckWord { json })) => Subcommand::Check { json: *json },
            Some(Sub::Explain(word)) => Subcommand::Explain(word.question()),
            Some(Sub::Upgrade(_)) => Subcommand::Ask(Order::Upgrade),
            Some(Sub::Status(_)) => Subcommand::Look(Look::Status),
            Some(Sub::Top(_)) => Subcommand::Look(Look::Top),
            Some(Sub::Health(_)) => Subcommand::Look(Look::Health),
            Some(Sub::Man(_)) => Subcommand::Man,
            Some(Sub::Completions(word)) => Subcommand::Completions(word.shell),
            Some(Sub::Reload(_)) => Subcommand::Ask(Order::Reload),
            Some(Sub::Add(word)) => word.order(Verb::Add),
            Some(Sub::Remove(word)) => word.order(Verb::Remove),
            Some(Sub::Drain(word)) => word.order(Verb::Drain),
            Some(Sub::Undrain(word)) => word.order(Verb::Undrain),
            Some(Sub::Weight(word)) => word.order(Verb::Weight),
            Some(Sub::Config(ConfigWord { then: ConfigSub::Schema(_) })) => Subcommand::Schema,
            Some(Sub::Config(ConfigWord { then: ConfigSub::Show(show) })) => {
                Subcommand::Show { origin: show.origin, form: show.format }
            }
        }
    }

    /// The settings that were given.
    pub fn given(self) -> Vec<(&'static Setting, Given)> {
        let mut given = Vec::new();
        for (name, values) in self.options() {
            let Some(setting) = table::find(&name) else { continue };
            let origin = Origin::Flag(format!("--{name}"));
            let value = |text: String| (setting, Given::new(text, origin.clone()));
            given.extend(values.into_iter().map(value));
        }
        given
    }
}

#include "routerd/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "linkspan/limits.h"
#include "routerd/config/token.h"

namespace linkspan::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string kHash = to_hex(store::hash_token("lsp_test"));

std::string all_keys() {
  return R"(store = "mem:"
listen = ["unix:/tmp/r.sock", "127.0.0.1:0"]
lease_ms = 1500
workers = 4
allow_plaintext_tcp = true
socket_mode = "0600"
spool_dir = "/tmp"
[log]
level = "debug"
format = "json"
[[tenant]]
name = "default"
[[tenant.volume]]
name = "memory"
quota_bytes = 1000
quota_files = 10
keep_versions = 5
keep_days = 7
[[tenant.token]]
sha256 = ")" +
         kHash +
         R"("
principal = "agent"
sandbox = "box"
expires = 2030-01-01T01:00:00.5+01:00
[[tenant.token.route]]
path = "memory"
volume = "memory"
rights = "rw"
policy = "reject"
timeout_ms = 100
[[tenant.token.route.pattern]]
glob = "*.csv"
policy = "merge"
[[tenant.token.route.pattern]]
glob = "journal/**/*.log"
policy = "last-writer-wins"
)";
}

TEST(Config, ReadsEveryKey) {
  auto [config, problems] = parse(all_keys(), "r.toml");
  ASSERT_THAT(problems, IsEmpty());
  EXPECT_EQ(config.store.text, "mem:");
  EXPECT_EQ(config.store.origin, "r.toml:1: store");
  ASSERT_EQ(config.listen.size(), 2u);
  EXPECT_EQ(config.listen[1].text, "127.0.0.1:0");
  EXPECT_EQ(config.listen[1].origin, "r.toml:2: listen");
  EXPECT_EQ(config.lease, std::chrono::milliseconds(1500));
  EXPECT_EQ(config.workers, 4u);
  EXPECT_TRUE(config.allow_plaintext_tcp);
  EXPECT_EQ(config.socket_mode, 0600u);
  EXPECT_EQ(config.spool_dir.text, "/tmp");
  EXPECT_EQ(config.log_level, "debug");
  EXPECT_EQ(config.log_format, LogFormat::json);
  ASSERT_EQ(config.tenants.size(), 1u);
  ASSERT_EQ(config.tenants[0].volumes.size(), 1u);
  const auto& volume = config.tenants[0].volumes[0];
  EXPECT_EQ(volume.quota_bytes, 1000u);
  EXPECT_EQ(volume.quota_files, 10u);
  EXPECT_EQ(volume.keep_versions, 5u);
  EXPECT_EQ(volume.keep_days, 7u);
  ASSERT_EQ(config.tokens.size(), 1u);
  const auto& token = config.tokens[0];
  EXPECT_EQ(token.hash, store::hash_token("lsp_test"));
  EXPECT_EQ(token.tenant, "default");
  EXPECT_EQ(token.principal, "agent");
  EXPECT_EQ(token.sandbox, "box");
  EXPECT_EQ(token.expires.ns, 1893456000'500000000);  // 2030-01-01T00:00:00.5Z
  ASSERT_EQ(token.routes.size(), 1u);
  EXPECT_EQ(token.routes[0].path, "memory");
  EXPECT_EQ(token.routes[0].rights, Access::read_write);
  EXPECT_EQ(token.routes[0].policy, Policy::reject);
  EXPECT_EQ(token.routes[0].timeout_ms, 100u);
  EXPECT_THAT(token.routes[0].patterns,
              ElementsAre(PolicyPattern{"*.csv", Policy::merge},
                          PolicyPattern{"journal/**/*.log", Policy::last_writer_wins}));
}

TEST(Config, DefaultsAreTheDocumentedOnes) {
  auto [config, problems] = parse("store = \"mem:\"\n", "r.toml");
  ASSERT_THAT(problems, IsEmpty());
  ASSERT_THAT(check(&config), IsEmpty());
  ASSERT_EQ(config.listen.size(), 1u);
  EXPECT_EQ(config.listen[0].text, "unix:/run/linkspan/router.sock");
  EXPECT_EQ(config.lease, std::chrono::milliseconds(5000));
  EXPECT_EQ(config.workers, 16u);
  EXPECT_FALSE(config.allow_plaintext_tcp);
  EXPECT_EQ(config.socket_mode, 0660u);
}

// A tenant with one token whose route is `route`.
std::string with_token(const std::string& token, const std::string& route) {
  return "[[tenant]]\nname = \"t\"\n[[tenant.volume]]\nname = \"memory\"\n[[tenant.token]]\n" +
         token + "[[tenant.token.route]]\n" + route;
}
const std::string kToken = "sha256 = \"" + kHash + "\"\nprincipal = \"agent\"\n";
const std::string kRoute = "path = \"memory\"\nvolume = \"memory\"\nrights = \"rw\"\n";

std::string with_pattern(const std::string& pattern) {
  return with_token(kToken, kRoute + "[[tenant.token.route.pattern]]\n" + pattern);
}

struct Case {
  const char* name;
  std::string toml;
  std::string message;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

class ConfigErrors : public testing::TestWithParam<Case> {};

TEST_P(ConfigErrors, NamesFileLineKeyAndMend) {
  const auto [config, problems] = parse(GetParam().toml, "r.toml");
  EXPECT_THAT(problems, ElementsAre(GetParam().message));
}

const Case kCases[] = {
    {"misspelled", "\nlisen = []\n",
     "r.toml:2: unknown key 'lisen' at the top level; did you mean 'listen'?"},
    {"unknown", "[log]\ncolour = true\n",
     "r.toml:2: unknown key 'colour' in [log]; known are level, format"},
    {"unknown_in_tenant", "[[tenant]]\nname = \"t\"\nvolumes = []\n",
     "r.toml:3: unknown key 'volumes' in [[tenant]]; did you mean 'volume'?"},
    {"unknown_in_volume",
     "[[tenant]]\nname = \"t\"\n[[tenant.volume]]\nname = \"v\"\nquota_byte = 1\n",
     "r.toml:5: unknown key 'quota_byte' in [[tenant.volume]]; did you mean 'quota_bytes'?"},
    {"unknown_in_token", with_token(kToken + "token = \"x\"\n", kRoute),
     "r.toml:8: unknown key 'token' in [[tenant.token]]; known are sha256, principal, sandbox, "
     "expires, bind, sources, renew_s, route"},
    {"sources_empty", with_token(kToken + "sources = []\n", kRoute),
     "r.toml:8: sources: is empty; name address ranges, or leave it out (then from anywhere)"},
    {"sources_wrong", with_token(kToken + "sources = [\"10.0.0.1/8\"]\n", kRoute),
     "r.toml:8: sources: '10.0.0.1/8' is no address range: there are bits set behind the first 8; "
     "write 10.0.0.0/8, 2001:db8::/32 or one address"},
    {"renew_without_end", with_token(kToken + "renew_s = 900\n", kRoute),
     "r.toml:8: renew_s: a token that its mounts renew needs an end, too; write expires = "
     "2030-01-01T00:00:00Z"},
    {"renew_bounds", with_token(kToken + "renew_s = 1\n", kRoute),
     "r.toml:8: renew_s: 1 is not between 2 and 2592000"},
    {"bind_type", with_token(kToken + "bind = \"yes\"\n", kRoute),
     "r.toml:8: bind: expected true or false, found a string; write bind = true"},
    {"unknown_in_route", with_token(kToken, kRoute + "right = \"rw\"\n"),
     "r.toml:12: unknown key 'right' in [[tenant.token.route]]; did you mean 'rights'?"},
    {"store_type", "store = 5\n",
     "r.toml:1: store: expected a string, found a whole number; write store = "
     "\"postgres://...\" or store = \"mem:\""},
    {"listen_type", "listen = \"unix:/x\"\n",
     "r.toml:1: listen: expected an array of strings, found a string; write listen = "
     "[\"unix:/run/linkspan/router.sock\"]"},
    {"listen_element", "listen = [\"unix:/x\",\n 7]\n",
     "r.toml:2: listen: expected strings, found a whole number; write listen = "
     "[\"unix:/run/linkspan/router.sock\"]"},
    {"lease_type", "lease_ms = \"5s\"\n",
     "r.toml:1: lease_ms: expected a whole number, found a string; write lease_ms = 5000"},
    {"lease_range", "lease_ms = 99\n", "r.toml:1: lease_ms: 99 is not between 100 and 600000"},
    {"workers_range", "workers = 0\n", "r.toml:1: workers: 0 is not between 1 and 256"},
    {"workers_type", "workers = 1.5\n",
     "r.toml:1: workers: expected a whole number, found a number with a point; write workers = "
     "16"},
    {"boolean_type", "allow_plaintext_tcp = 1\n",
     "r.toml:1: allow_plaintext_tcp: expected true or false, found a whole number; write "
     "allow_plaintext_tcp = true"},
    {"mode", "socket_mode = \"rw\"\n",
     "r.toml:1: socket_mode: 'rw' is no mode; write it in octal, like \"0660\""},
    {"mode_bits", "socket_mode = \"1777\"\n",
     "r.toml:1: socket_mode: '1777' is no mode; write it in octal, like \"0660\""},
    {"spool_relative", "spool_dir = \"spool\"\n",
     "r.toml:1: spool_dir: the path must be absolute; write spool_dir = \"/var/tmp\""},
    {"log_type", "log = \"info\"\n",
     "r.toml:1: log: expected a table, found a string; write [log]"},
    {"log_level", "[log]\nlevel = \"loud\"\n",
     "r.toml:2: level: \"loud\" is not one of \"trace\", \"debug\", \"info\", \"warning\" or "
     "\"error\""},
    {"log_format", "[log]\nformat = \"xml\"\n",
     "r.toml:2: format: \"xml\" is not one of \"text\" or \"json\""},
    {"tenant_type", "tenant = 1\n",
     "r.toml:1: tenant: expected a list of tables, found a whole number; write [[tenant]]"},
    {"tenant_table", "[tenant]\nname = \"t\"\n",
     "r.toml:1: tenant: expected a list of tables, found a table; write [[tenant]]"},
    {"tenant_element", "tenant = [7]\n",
     "r.toml:1: tenant: expected tables, found a whole number; write [[tenant]]"},
    {"tenant_name", "[[tenant]]\n",
     "r.toml:1: 'name' is missing in [[tenant]]; write name = \"default\""},
    {"tenant_empty", "[[tenant]]\nname = \"\"\n", "r.toml:2: name: must not be empty"},
    {"tenant_control", "[[tenant]]\nname = \"a\\nb\"\n",
     "r.toml:2: name: must not hold control characters"},
    {"tenant_twice", "[[tenant]]\nname = \"t\"\n[[tenant]]\nname = \"t\"\n",
     "r.toml:4: name: a tenant named \"t\" is there already; put both in one [[tenant]]"},
    {"volume_name", "[[tenant]]\nname = \"t\"\n[[tenant.volume]]\n",
     "r.toml:3: 'name' is missing in [[tenant.volume]]; write name = \"memory\""},
    {"volume_slash", "[[tenant]]\nname = \"t\"\n[[tenant.volume]]\nname = \"a/b\"\n",
     "r.toml:4: name: must not hold a '/'"},
    {"volume_twice",
     "[[tenant]]\nname = \"t\"\n[[tenant.volume]]\nname = \"v\"\n[[tenant.volume]]\nname = "
     "\"v\"\n",
     "r.toml:6: name: a volume named \"v\" is there already in this tenant; choose another name"},
    {"quota", "[[tenant]]\nname = \"t\"\n[[tenant.volume]]\nname = \"v\"\nquota_bytes = -1\n",
     "r.toml:5: quota_bytes: -1 is not between 0 and 9223372036854775807"},
    {"keep", "[[tenant]]\nname = \"t\"\n[[tenant.volume]]\nname = \"v\"\nkeep_versions = 0\n",
     "r.toml:5: keep_versions: 0 is not between 1 and 1000000"},
    {"token_hash_missing", with_token("principal = \"a\"\n", kRoute),
     "r.toml:5: 'sha256' is missing in [[tenant.token]]; write sha256 = \"...\" as "
     "`linkspan-routerd token new` prints it"},
    {"token_principal_missing", with_token("sha256 = \"" + kHash + "\"\n", kRoute),
     "r.toml:5: 'principal' is missing in [[tenant.token]]; write principal = \"agent\""},
    {"token_hash_short", with_token("sha256 = \"abcd\"\nprincipal = \"a\"\n", kRoute),
     "r.toml:6: sha256: has 4 characters instead of 64; copy it from `linkspan-routerd token "
     "new`"},
    {"token_hash_digits",
     with_token("sha256 = \"" + std::string(64, 'x') + "\"\nprincipal = \"a\"\n", kRoute),
     "r.toml:6: sha256: has characters that are no hexadecimal digits; copy it from "
     "`linkspan-routerd token new`"},
    {"token_itself", with_token("sha256 = \"lsp_abc\"\nprincipal = \"a\"\n", kRoute),
     "r.toml:6: sha256: this is the token itself, which must not be kept; write its SHA-256, as "
     "`linkspan-routerd token new` prints it"},
    {"token_twice",
     with_token(kToken, kRoute) + "[[tenant.token]]\n" + kToken + "[[tenant.token.route]]\n" +
         kRoute,
     "r.toml:13: sha256: this token is there already; make another with `linkspan-routerd token "
     "new`"},
    {"token_no_route", "[[tenant]]\nname = \"t\"\n[[tenant.token]]\n" + kToken,
     "r.toml:3: 'route' is missing in [[tenant.token]]; write [[tenant.token.route]]"},
    {"expires_type", with_token(kToken + "expires = \"tomorrow\"\n", kRoute),
     "r.toml:8: expires: expected a date and time, found a string; write expires = "
     "2030-01-01T00:00:00Z"},
    {"expires_zone", with_token(kToken + "expires = 2030-01-01T00:00:00\n", kRoute),
     "r.toml:8: expires: the time zone is missing; write expires = 2030-01-01T00:00:00Z"},
    {"expires_year", with_token(kToken + "expires = 9999-01-01T00:00:00Z\n", kRoute),
     "r.toml:8: expires: the year must be from 1970 to 2261"},
    {"route_path", with_token(kToken, "volume = \"memory\"\nrights = \"rw\"\n"),
     "r.toml:8: 'path' is missing in [[tenant.token.route]]; write path = \"memory\""},
    {"route_slash", with_token(kToken, "path = \"/m\"\nvolume = \"memory\"\nrights = \"rw\"\n"),
     "r.toml:9: path: must not begin with '/': it is relative to the mountpoint; write path = "
     "\"m\""},
    {"route_dots", with_token(kToken, "path = \"a/..\"\nvolume = \"memory\"\nrights = \"rw\"\n"),
     "r.toml:9: path: must not have empty, '.' or '..' parts"},
    {"route_unprintable",
     with_token(kToken, "path = \"a\\u0007b\"\nvolume = \"memory\"\nrights = \"rw\"\n"),
     "r.toml:9: path: must not hold control characters"},
    {"route_control",
     with_token(kToken, "path = \".linkspan\"\nvolume = \"memory\"\nrights = \"rw\"\n"),
     "r.toml:9: path: '.linkspan' is the mount's own directory; choose another path"},
    {"route_workspace",
     with_token(kToken, "path = \"workspace/a\"\nvolume = \"memory\"\nrights = \"rw\"\n"),
     "r.toml:9: path: 'workspace' is the mount's own directory; choose another path"},
    {"route_twice", with_token(kToken, kRoute) + "[[tenant.token.route]]\n" + kRoute,
     "r.toml:13: path: \"memory\" is routed already by this token; remove one"},
    {"route_volume", with_token(kToken, "path = \"m\"\nvolume = \"x\"\nrights = \"rw\"\n"),
     "r.toml:10: volume: no volume \"x\" in this tenant; add [[tenant.volume]] name = \"x\""},
    {"route_rights_missing", with_token(kToken, "path = \"m\"\nvolume = \"memory\"\n"),
     "r.toml:8: 'rights' is missing in [[tenant.token.route]]; write rights = \"rw\""},
    {"route_rights", with_token(kToken, "path = \"m\"\nvolume = \"memory\"\nrights = \"w\"\n"),
     "r.toml:11: rights: \"w\" is not one of \"ro\", \"append\", \"no-delete\" or \"rw\""},
    {"route_policy", with_token(kToken, kRoute + "policy = \"ours\"\n"),
     "r.toml:12: policy: \"ours\" is not one of \"merge\", \"reject\" or \"last-writer-wins\""},
    {"route_timeout", with_token(kToken, kRoute + "timeout_ms = 0\n"),
     "r.toml:12: timeout_ms: 0 is not between 1 and 3600000"},
    {"pattern_type", with_token(kToken, kRoute + "pattern = \"*.csv\"\n"),
     "r.toml:12: pattern: expected a list of tables, found a string; write "
     "[[tenant.token.route.pattern]]"},
    {"pattern_unknown", with_pattern("glob = \"*\"\npolicy = \"merge\"\npath = \"x\"\n"),
     "r.toml:15: unknown key 'path' in [[tenant.token.route.pattern]]; known are glob, policy, "
     "access, no_exec, max_bytes, allowed"},
    {"pattern_no_glob", with_pattern("policy = \"merge\"\n"),
     "r.toml:12: 'glob' is missing in [[tenant.token.route.pattern]]; write glob = \"*.csv\""},
    {"pattern_no_word", with_pattern("glob = \"*.csv\"\n"),
     "r.toml:13: glob: the pattern says nothing of its files; write policy = \"reject\" or access "
     "= "
     "\"append-only\", no_exec, max_bytes, allowed"},
    {"pattern_policy", with_pattern("glob = \"*.csv\"\npolicy = \"ours\"\n"),
     "r.toml:14: policy: \"ours\" is not one of \"merge\", \"reject\" or \"last-writer-wins\""},
    {"pattern_empty", with_pattern("glob = \"\"\npolicy = \"merge\"\n"),
     "r.toml:13: glob: must not be empty; write glob = \"*.csv\""},
    {"pattern_long", with_pattern("glob = \"" + std::string(513, 'x') + "\"\npolicy = \"merge\"\n"),
     "r.toml:13: glob: is longer than 512 bytes"},
    {"pattern_control", with_pattern("glob = \"a\\tb\"\npolicy = \"merge\"\n"),
     "r.toml:13: glob: must not hold control characters"},
    {"pattern_directory", with_pattern("glob = \"journal/\"\npolicy = \"merge\"\n"),
     "r.toml:13: glob: must not have empty, '.' or '..' parts; write glob = \"journal/**\" for all "
     "below"},
    {"pattern_dots", with_pattern("glob = \"./a\"\npolicy = \"merge\"\n"),
     "r.toml:13: glob: must not have empty, '.' or '..' parts; write glob = \"journal/**\" for all "
     "below"},
    {"pattern_stars", with_pattern("glob = \"journal/**.log\"\npolicy = \"merge\"\n"),
     "r.toml:13: glob: '**' stands for directories and must be a part of its own; write glob = "
     "\"journal/**/*.log\""},
    {"pattern_twice",
     with_pattern("glob = \"*.csv\"\npolicy = \"merge\"\n[[tenant.token.route.pattern]]\nglob = "
                  "\"*.csv\"\npolicy = \"reject\"\n"),
     "r.toml:16: glob: \"*.csv\" is there already in this route; remove one"},
};

INSTANTIATE_TEST_SUITE_P(All, ConfigErrors, testing::ValuesIn(kCases),
                         [](const auto& c) { return std::string(c.param.name); });

// The words after the prefix are toml++'s own.
TEST(Config, NamesTheLineOfBrokenToml) {
  for (const char* toml : {"\nstore = \n", "workers = 1\nworkers = 2\n", "\n[log\n", "\n= 1\n"})
    EXPECT_THAT(parse(toml, "r.toml").problems,
                ElementsAre(testing::StartsWith("r.toml:2: not valid TOML: ")))
        << toml;
}

TEST(Config, TellsAllProblemsAtOnceButNotWithoutEnd) {
  EXPECT_THAT(parse("lease_ms = 1\nworkers = 0\n", "r.toml").problems,
              ElementsAre("r.toml:1: lease_ms: 1 is not between 100 and 600000",
                          "r.toml:2: workers: 0 is not between 1 and 256"));
  std::string many;
  for (int i = 0; i < 100; ++i) many += "unknown" + std::to_string(i) + " = 1\n";
  EXPECT_EQ(parse(many, "r.toml").problems.size(), kProblemsShown);
}

TEST(Config, AFileThatCannotBeReadIsNamed) {
  EXPECT_THAT(load("/nowhere/r.toml").problems,
              ElementsAre("/nowhere/r.toml: cannot be read: No such file or directory; see "
                          "--config"));
  EXPECT_THAT(load("/tmp").problems,
              ElementsAre("/tmp: cannot be read: Is a directory; see --config"));
}

TEST(Config, ReadsAFile) {
  char path[] = "/tmp/linkspan-config-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  close(fd);
  std::ofstream(path) << all_keys();
  const auto [config, problems] = load(path);
  unlink(path);
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(config.workers, 4u);
}

std::vector<std::string> check_problems(const std::string& toml) {
  auto [config, problems] = parse(toml, "r.toml");
  EXPECT_THAT(problems, IsEmpty());
  return check(&config);
}

TEST(ConfigCheck, WantsAStore) {
  EXPECT_THAT(check_problems(""),
              ElementsAre("no store is configured; write store = \"postgres://...\" in the "
                          "configuration or give --store postgres://... (or mem: for a try-out "
                          "that keeps nothing)"));
  EXPECT_THAT(check_problems("store = \"mysql://u:secret@h\"\n"),
              ElementsAre("r.toml:1: store: 'mysql://u:***@h' is no store; write "
                          "postgres://USER@HOST/DATABASE or mem:"));
}

TEST(ConfigCheck, KeepsPlaintextOnThisMachine) {
  EXPECT_THAT(check_problems("store = \"mem:\"\nlisten = [\"0.0.0.0:7000\"]\n"),
              ElementsAre("r.toml:2: listen: '0.0.0.0:7000' can be reached from other machines "
                          "and the connection is not encrypted; listen on tls://0.0.0.0:7000 or "
                          "127.0.0.1, or say allow_plaintext_tcp = true (--allow-plaintext-tcp) "
                          "if the network is private"));
  EXPECT_THAT(check_problems("store = \"mem:\"\nlisten = [\"0.0.0.0:7000\"]\n"
                             "allow_plaintext_tcp = true\n"),
              IsEmpty());
}

TEST(ConfigCheck, NamesABadAddressAndOneListedTwice) {
  EXPECT_THAT(check_problems("store = \"mem:\"\nlisten = [\"nowhere\"]\n"),
              ElementsAre("r.toml:2: listen: 'nowhere' is no address: host or port is missing; "
                          "write unix:/path/to.sock, tls://host:port or host:port"));
  EXPECT_THAT(check_problems("store = \"mem:\"\nlisten = [\"unix:/x\", \"unix:/x\"]\n"),
              ElementsAre("r.toml:2: listen: 'unix:/x' is listed twice; remove one"));
  EXPECT_THAT(check_problems("store = \"mem:\"\nlisten = [\"[::1]:0\", \"[::1]:0\"]\n"), IsEmpty());
}

constexpr const char* kTls = "store = \"mem:\"\nlisten = [\"tls://0.0.0.0:7000\"]\n";

TEST(ConfigTls, NeedsACertificate) {
  EXPECT_THAT(check_problems(kTls),
              ElementsAre("r.toml:2: listen: 'tls://0.0.0.0:7000' needs a certificate; add [tls] "
                          "with certificate = \"FILE\" and key = \"FILE\" to the configuration"));
}

TEST(ConfigTls, NamesEachFileThatIsWrong) {
  EXPECT_THAT(
      check_problems(kTls + std::string("[tls]\ncertificate = \"/no/c\"\nkey = \"/no/k\"\n"
                                        "client_ca = \"/no/a\"\n")),
      ElementsAre("r.toml:4: certificate: /no/c: No such file or directory; is the path right, and "
                  "may this user read it?",
                  "r.toml:5: key: /no/k: No such file or directory; is the path right, and may "
                  "this user read it?",
                  "r.toml:6: client_ca: /no/a: No such file or directory; is the path right, and "
                  "may this user read it?"));
}

TEST(ConfigTls, HasBothFilesByAbsolutePaths) {
  EXPECT_THAT(parse("[tls]\nclient_ca = \"a.pem\"\n", "r.toml").problems,
              ElementsAre(testing::HasSubstr("certificate"), testing::HasSubstr("key"),
                          "r.toml:2: client_ca: the path must be absolute; write client_ca = "
                          "\"/etc/linkspan/tls/client_ca.pem\""));
}

TEST(ConfigSocketPeers, AreUsersAndGroupsByNameOrNumber) {
  const auto [config, problems] =
      parse("socket_users = [\"root\", \"4711\"]\nsocket_groups = [\"root\"]\n", "r.toml");
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_THAT(config.socket_peers.users, ElementsAre(0u, 4711u));
  EXPECT_THAT(config.socket_peers.groups, ElementsAre(0u));
  EXPECT_THAT(parse("socket_users = [\"no such\"]\nsocket_groups = [\"-1\"]\n", "r.toml").problems,
              ElementsAre("r.toml:1: socket_users: no user \"no such\"; write a name or a number",
                          "r.toml:2: socket_groups: no group \"-1\"; write a name or a number"));
  // Nobody would be no use, and all is not what it says.
  EXPECT_THAT(parse("socket_users = []\n", "r.toml").problems,
              ElementsAre("r.toml:1: socket_users: is empty; name who may connect, or leave it out "
                          "(then socket_mode decides)"));
}

TEST(ConfigSummary, TellsAllButSecrets) {
  auto [config, problems] = parse(all_keys(), "r.toml");
  config.store.text = "postgres://u:secret@h/d";
  EXPECT_EQ(summary(config), R"(store: postgres://u:***@h/d
listen: unix:/tmp/r.sock
listen: 127.0.0.1:0
lease: 1500 ms
workers: 4
tenant default
  volume memory: keeps 5 versions, 7 days, at most 1000 bytes, at most 10 files
  token of agent in sandbox box, expires 2030-01-01T00:00:00Z
    memory -> memory (rw, reject)
      *.csv: merge
      journal/**/*.log: last-writer-wins
)");
}

TEST(Config, ATokenSaysWhoMayUseItFromWhereAndHowLong) {
  const auto [config, problems] =
      parse(with_token(kToken + "bind = true\nsources = [\"10.0.0.0/8\", \"::1\"]\nrenew_s = 900\n"
                                "expires = 2030-01-01T00:00:00Z\n",
                       kRoute),
            "r.toml");
  EXPECT_THAT(problems, IsEmpty());
  ASSERT_EQ(config.tokens.size(), 1u);
  EXPECT_TRUE(config.tokens[0].bind);
  EXPECT_THAT(config.tokens[0].sources, ElementsAre("10.0.0.0/8", "::1"));
  EXPECT_EQ(config.tokens[0].renew, std::chrono::seconds(900));
  EXPECT_THAT(
      summary(config),
      testing::HasSubstr(", expires 2030-01-01T00:00:00Z, 900 s after its last mount at the "
                         "latest, bound to the sandbox that uses it first, from 10.0.0.0/8 "
                         "::1\n"));
}

TEST(Config, ATokensRoutesAreBounded) {
  const auto routes = [](size_t count) {
    std::string toml = with_token(kToken, kRoute);
    for (size_t i = 1; i < count; ++i)
      toml += "[[tenant.token.route]]\npath = \"m" + std::to_string(i) +
              "\"\nvolume = \"memory\"\nrights = \"rw\"\n";
    return parse(toml, "r.toml").problems;
  };
  EXPECT_THAT(routes(limits::kRoutes), IsEmpty());
  const std::string line = std::to_string(8 + 4 * limits::kRoutes);
  EXPECT_THAT(routes(limits::kRoutes + 2),
              ElementsAre("r.toml:" + line +
                          ": route: a token has at most 64 routes; share the rest out to another "
                          "token"));
}

TEST(Config, ARoutesPatternsAreBounded) {
  const auto patterns = [](size_t count) {
    std::string toml = with_token(kToken, kRoute);
    for (size_t i = 0; i < count; ++i)
      toml += "[[tenant.token.route.pattern]]\nglob = \"" + std::to_string(i) +
              "\"\npolicy = \"merge\"\n";
    return parse(toml, "r.toml").problems;
  };
  EXPECT_THAT(patterns(limits::kPatterns), IsEmpty());
  const std::string line = std::to_string(12 + 3 * limits::kPatterns);
  EXPECT_THAT(patterns(limits::kPatterns + 2),
              ElementsAre("r.toml:" + line +
                          ": pattern: a route has at most 32 patterns; put what is alike under one "
                          "glob"));
}

TEST(Config, GlobsThatMean) {
  for (const char* glob :
       {"*", "**", "/a", "/**", "a/**", "**/a", "a/**/b", "[a-z]?.md", "\u00fc"}) {
    const auto toml = with_pattern("glob = \"" + std::string(glob) + "\"\npolicy = \"merge\"\n");
    EXPECT_THAT(parse(toml, "r.toml").problems, IsEmpty()) << glob;
  }
}

TEST(ConfigSummary, HidesPasswordsInEveryForm) {
  EXPECT_EQ(without_password("postgres://u:p@h/d"), "postgres://u:***@h/d");
  EXPECT_EQ(without_password("postgres://u:p@q@h/d"), "postgres://u:***@h/d");
  EXPECT_EQ(without_password("postgres://u@h:5432/d"), "postgres://u@h:5432/d");
  EXPECT_EQ(without_password("postgres:///d?host=/run"), "postgres:///d?host=/run");
  EXPECT_EQ(without_password("host=h password=p user=u"), "host=h password=*** user=u");
  EXPECT_EQ(without_password("host=h password='p q' user=u"), "host=h password=*** user=u");
  EXPECT_EQ(without_password("host=h password=p"), "host=h password=***");
  EXPECT_EQ(without_password("postgres://u@h/db?password=x"), "postgres://u@h/db?password=***");
  EXPECT_EQ(without_password("postgres://u:p@h/db?a=b&password=x&c=d"),
            "postgres://u:***@h/db?a=b&password=***&c=d");
  EXPECT_EQ(without_password("postgres://u@h/db?pass%77ord=x&sslpassword=y"),
            "postgres://u@h/db?pass%77ord=***&sslpassword=***");
  EXPECT_EQ(without_password("host=h password = x user=u"), "host=h password = *** user=u");
  EXPECT_EQ(without_password("password\t= 'x y' host=h"), "password\t= *** host=h");
  EXPECT_EQ(without_password("password='it\\'s x' host=h"), "password=*** host=h");
  EXPECT_EQ(without_password("password=a\\ b host=h"), "password=*** host=h");
  EXPECT_EQ(without_password("password='open"), "password=***");
  EXPECT_EQ(without_password("application_name='password=no' password=p"),
            "application_name='password=no' password=***");
  EXPECT_EQ(without_password("stray password=p stray password"),
            "stray password=*** stray password");
}

}  // namespace
}  // namespace linkspan::config

#include "fusefs/cli/mount_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace linkspan::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kSecond = 1'000'000'000;

MountReport example() {
  MountReport report;
  report.dir = "/mnt/a";
  report.pid = 42;
  report.started = {1'700'000'000 * kSecond};
  report.now = {1'700'000'300 * kSecond};
  report.session = {SessionId(7), "acme", "agent", "box", "routerd", "unix:/r.sock", {}, {}};
  report.link = {client::Link::connected, report.started, ""};
  report.lease_valid = true;
  Route memory{
      .path = "memory", .volume = "mem-vol", .rights = Access::read_write, .root = Ino(16)};
  Route skills{.path = "skills", .volume = "skills", .root = Ino(17)};
  report.routes = {{memory, {}}, {skills, {}}};
  report.routes[0].stats.dirty_bytes = 5;
  report.routes[0].stats.dirty_files = 1;
  report.connections = {{"/mnt/a", false, 3, 0, 0}};
  return report;
}

TEST(MountReportTest, Times) {
  EXPECT_EQ(format_time({0}), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_time({1'500'000'000}), "1970-01-01T00:00:01.500Z");
  EXPECT_EQ(format_time({-1}), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(format_age({0}, {119 * kSecond}), "119 s");
  EXPECT_EQ(format_age({0}, {120 * kSecond}), "2 min");
  EXPECT_EQ(format_age({0}, {7200 * kSecond}), "2 h");
  EXPECT_EQ(format_age({0}, {172800 * kSecond}), "2 d");
  EXPECT_EQ(format_age({5 * kSecond}, {0}), "0 s");  // a clock that was set back
}

TEST(MountReportTest, Printable) {
  EXPECT_EQ(printable("plain gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"),
            "plain gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80");
  EXPECT_EQ(printable("a\nb\tc\x1B[31m"), "a\\x0Ab\\x09c\\x1B[31m");
  EXPECT_EQ(printable(std::string("\xFF\xC3(\x00", 4)), "\\xFF\\xC3(\\x00");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\xC2\\x9B31m");             // C1 control
  EXPECT_EQ(printable("\xC3"), "\\xC3");  // cut short
}

TEST(MountReportTest, AReadOnlyMountSaysSo) {
  auto report = example();
  report.read_only = true;
  report.workspace = "/srv/work";
  const auto text = status_text(report);
  EXPECT_THAT(text, HasSubstr("memory  volume mem-vol  ro (--read-only)"));
  EXPECT_THAT(text, HasSubstr("skills  volume skills  ro  timeout"));
  EXPECT_THAT(text, HasSubstr("workspace  local /srv/work  ro (--read-only)"));
  EXPECT_THAT(text, Not(HasSubstr("rw")));
  const auto json = nlohmann::json::parse(status_json(report));
  EXPECT_TRUE(json["read_only"].get<bool>());
  EXPECT_FALSE(json["routes"][0]["writable"].get<bool>());
}

TEST(MountReportTest, ARouterIsNamedOnlyWhileItServes) {
  auto report = example();  // the name says the pid
  report.link.address = report.session.address;
  report.link.router = "routerd vm 77";
  EXPECT_THAT(status_text(report), HasSubstr("unix:/r.sock  routerd vm 77\n"));
  report.link = {client::Link::disconnected, report.started, "no answer in time"};
  EXPECT_THAT(status_text(report), HasSubstr("router     unix:/r.sock\n"));
  EXPECT_TRUE(nlohmann::json::parse(status_json(report))["router"]["name"].is_null());
}

TEST(MountReportTest, ARunCannotBeMountedAgain) {
  auto report = example();
  report.missing = {"/memory"};
  EXPECT_THAT(status_text(report), HasSubstr("linkspan umount /mnt/a, then mount it again"));
  report.of_run = true;
  EXPECT_THAT(status_text(report), Not(HasSubstr("linkspan umount")));
  EXPECT_THAT(status_text(report), HasSubstr("end this `linkspan run`"));
}

TEST(MountReportTest, HealthyStatus) {
  const auto report = example();
  EXPECT_TRUE(is_healthy(report));
  const auto text = status_text(report);
  EXPECT_THAT(text, HasSubstr("connected since 2023-11-14T22:13:20.000Z (5 min)"));
  EXPECT_THAT(text, HasSubstr("agent in sandbox box, tenant acme"));
  EXPECT_THAT(text, HasSubstr("5 bytes in 1 files"));
  EXPECT_THAT(text, HasSubstr("memory  volume mem-vol  rw  merge"));
  EXPECT_THAT(text, HasSubstr("skills  volume skills  ro"));
  EXPECT_THAT(text, Not(HasSubstr("stale")));
  const auto json = nlohmann::json::parse(status_json(report));
  EXPECT_TRUE(json["healthy"].get<bool>());
  EXPECT_EQ(json["dirty_bytes"], 5);
  EXPECT_TRUE(json["routes"][0]["stale_since"].is_null());
  EXPECT_TRUE(json["workspace"].is_null());
  EXPECT_EQ(json["session"], "0000000000000007");
}

TEST(MountReportTest, PatternsStandInTheirOrderBelowTheirRoute) {
  auto report = example();
  EXPECT_EQ(nlohmann::json::parse(status_json(report))["routes"][0]["patterns"],
            nlohmann::json::array());
  report.routes[0].route.patterns = {{"*.csv", Policy::reject},
                                     {"journal/**/*.log", Policy::last_writer_wins}};
  report.routes[1].route.patterns = {{"*", Policy::reject}};  // read-only: nothing to decide
  EXPECT_THAT(routes_text(report),
              HasSubstr(" s  unsaved 5 bytes\n"
                        "pattern    memory  reject  *.csv\n"
                        "pattern    memory  last-writer-wins  journal/**/*.log\n"
                        "route      skills"));
  EXPECT_THAT(routes_text(report), Not(HasSubstr("pattern    skills")));
  EXPECT_EQ(nlohmann::json::parse(status_json(report))["routes"][0]["patterns"].dump(),
            R"([{"glob":"*.csv","policy":"reject"},)"
            R"({"glob":"journal/**/*.log","policy":"last-writer-wins"}])");
}

TEST(MountReportTest, DisconnectedSaysSinceWhenAndWhatIsStale) {
  auto report = example();
  report.link = {client::Link::disconnected, report.now, "connection refused"};
  report.lease_valid = false;
  EXPECT_FALSE(is_healthy(report));
  const auto text = status_text(report);
  EXPECT_THAT(text, HasSubstr("disconnected since"));
  EXPECT_THAT(text, HasSubstr("connection refused"));
  EXPECT_THAT(text, HasSubstr("run out"));
  EXPECT_THAT(text, HasSubstr("stale since 2023-11-14T22:18:20.000Z"));
  const auto json = nlohmann::json::parse(status_json(report));
  EXPECT_FALSE(json["healthy"].get<bool>());
  EXPECT_EQ(json["state"], "disconnected");
  EXPECT_EQ(json["routes"][0]["stale_since"], "2023-11-14T22:18:20.000Z");
}

TEST(MountReportTest, AnEndedConnectionIsUnhealthy) {
  auto report = example();
  report.connections[0].ended = true;
  EXPECT_FALSE(is_healthy(report));
}

TEST(MountReportTest, AMountThatWasTakenAwayIsUnhealthyAndNamed) {
  auto report = example();
  ASSERT_TRUE(is_healthy(report));
  report.missing = {report.dir + "/memory"};
  EXPECT_FALSE(is_healthy(report));
  EXPECT_THAT(status_text(report), HasSubstr("UNMOUNTED  " + report.dir + "/memory"));
  EXPECT_THAT(status_text(report), HasSubstr("linkspan umount " + report.dir));
  EXPECT_EQ(nlohmann::json::parse(status_json(report))["unmounted"][0], report.dir + "/memory");
}

TEST(MountReportTest, RefusedCommitsAreUnhealthyAndDated) {
  auto report = example();
  report.routes[0].stats.refused = "the volume is full";
  report.routes[0].stats.refused_since = report.started;
  report.routes[0].stats.refused_last = report.now;
  EXPECT_FALSE(is_healthy(report));
  const auto text = status_text(report);
  EXPECT_THAT(text, HasSubstr("since " + format_time(report.started)));
  EXPECT_THAT(text, HasSubstr("last at " + format_time(report.now) + ": the volume is full"));
  EXPECT_EQ(nlohmann::json::parse(status_json(report))["routes"][0]["refused"],
            "the volume is full");
}

TEST(MountReportTest, WhyLocksOfAWalDatabaseAreRefusedWithTheMend) {
  auto report = example();
  EXPECT_THAT(status_text(report), Not(HasSubstr("REFUSED")));
  EXPECT_EQ(nlohmann::json::parse(status_json(report))["routes"][0]["wal_refused"].size(), 0u);
  report.routes[0].stats.wal_refusals = {{"memory/x\n.db", 12, report.started, report.now}};
  report.routes[0].stats.wal_refused = 40;
  EXPECT_TRUE(is_healthy(report)) << "the mount is; its user is not";
  const auto text = status_text(report);
  EXPECT_THAT(text, HasSubstr("REFUSED    locks of memory/x\\x0A.db, 12 since " +
                              format_time(report.started) + ", last at " + format_time(report.now) +
                              ": a SQLite database in WAL mode"));
  EXPECT_THAT(text, HasSubstr("\nmend       for use on several mounts at once, where it is in use: "
                              "PRAGMA journal_mode=DELETE\n"));
  const auto json = nlohmann::json::parse(status_json(report))["routes"][0]["wal_refused"][0];
  EXPECT_EQ(json["file"], "memory/x\n.db");
  EXPECT_EQ(json["times"], 12);
  EXPECT_EQ(json["last"], format_time(report.now));
  EXPECT_THAT(json["mend"].get<std::string>(), HasSubstr("PRAGMA journal_mode=DELETE"));
  EXPECT_THAT(stats_text(report), HasSubstr("linkspan_wal_refused_total{route=\"memory\"} 40\n"));
}

TEST(MountReportTest, MetricsAreWellFormed) {
  auto report = example();
  report.dir = "/mnt/\"odd\\\n";
  report.client.methods = {{"Lookup", 3, 1, 2, 1'500'000'000}};
  const auto text = stats_text(report);
  EXPECT_THAT(text, HasSubstr("dir=\"/mnt/\\\"odd\\\\\\\\x0A\""));
  EXPECT_THAT(text, HasSubstr("linkspan_rpc_calls_total{method=\"Lookup\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("linkspan_rpc_seconds_total{method=\"Lookup\"} 1.500000000\n"));
  EXPECT_THAT(text, HasSubstr("linkspan_dirty_bytes{route=\"memory\"} 5\n"));
}

TEST(MountReportTest, Changes) {
  Change moved;
  moved.seq = Seq(9);
  moved.what = "rename";
  moved.volume = "memory";
  moved.path = "b\n";
  moved.old_path = "a";
  moved.principal = "agent";
  moved.sandbox = "box";
  moved.at = {0};
  const auto text = changes_text({moved}, "");
  EXPECT_EQ(text, "1970-01-01T00:00:00.000Z  #9  agent@box  rename  memory/a -> memory/b\\x0A\n");
  EXPECT_THAT(changes_text({moved}, "the router is away"), HasSubstr("\n# the router is away\n"));
  EXPECT_EQ(changes_text({}, ""), "");
  const auto json = nlohmann::json::parse(changes_json({moved}));
  EXPECT_EQ(json["path"], "b\n");
  EXPECT_EQ(json["old_path"], "a");
}

}  // namespace
}  // namespace linkspan::cli

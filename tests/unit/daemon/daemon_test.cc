#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "routerd/daemon/command_line.h"
#include "routerd/daemon/log.h"
#include "routerd/daemon/notify.h"

namespace linkspan::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Action = CommandLine::Action;

CommandLine parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "linkspan-routerd");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

TEST(CommandLine, KnowsItsActions) {
  EXPECT_EQ(parse({}).action, Action::serve);
  EXPECT_EQ(parse({"--check-config"}).action, Action::check_config);
  EXPECT_EQ(parse({"token", "new"}).action, Action::new_token);
  const auto version = parse({"--version"});
  EXPECT_EQ(version.action, Action::exit);
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.out, "linkspan-routerd " LINKSPAN_VERSION "\n");
  const auto help = parse({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("--listen"));
  EXPECT_THAT(help.out, HasSubstr("Exit status"));
}

TEST(CommandLine, MistakesExitTwoAndPointToTheHelp) {
  for (const auto& arguments : std::vector<std::vector<const char*>>{{"--nonsense"},
                                                                     {"--workers", "many"},
                                                                     {"token"},
                                                                     {"token", "old"},
                                                                     {"--listen"},
                                                                     {"--ready-fd", "-1"},
                                                                     {"--ready-fd", "9999"}}) {
    const auto line = parse(arguments);
    EXPECT_EQ(line.action, Action::exit) << arguments[0];
    EXPECT_EQ(line.exit_code, 2) << arguments[0];
    EXPECT_THAT(line.err, testing::StartsWith("linkspan-routerd: "));
    EXPECT_THAT(line.err, testing::EndsWith("; see linkspan-routerd --help\n"));
  }
}

TEST(CommandLine, WordsOfNoUseAreNamedAsTheyWereTyped) {
  EXPECT_THAT(parse({"--log-levle", "info"}).err, HasSubstr("no use for: --log-levle info;"));
  EXPECT_THAT(parse({"token", "old"}).err, HasSubstr("no use for: old;"));
  EXPECT_THAT(parse({"token"}).err, HasSubstr("write: linkspan-routerd token new;"));
}

TEST(CommandLine, FlagsGoOverTheFile) {
  char path[] = "/tmp/linkspan-daemon-XXXXXX";
  close(mkstemp(path));
  std::ofstream(path) << "store = \"postgres:///a\"\nlisten = [\"unix:/a\"]\nworkers = 3\n"
                         "lease_ms = 700\n[log]\nlevel = \"error\"\n";
  const auto plain = effective_config(parse({"--config", path}));
  const auto over = effective_config(
      parse({"--config", path, "--store", "mem:", "--listen", "unix:/b", "--listen", "127.0.0.1:0",
             "--workers", "5", "--log-format", "json", "--socket-mode", "0666"}));
  unlink(path);
  ASSERT_THAT(plain.problems, IsEmpty());
  EXPECT_EQ(plain.config.store.text, "postgres:///a");
  EXPECT_EQ(plain.config.workers, 3u);
  ASSERT_THAT(over.problems, IsEmpty());
  EXPECT_EQ(over.config.store.text, "mem:");
  ASSERT_EQ(over.config.listen.size(), 2u);
  EXPECT_EQ(over.config.listen[0].text, "unix:/b");
  EXPECT_EQ(over.config.workers, 5u);
  EXPECT_EQ(over.config.lease, std::chrono::milliseconds(700));
  EXPECT_EQ(over.config.log_level, "error");
  EXPECT_EQ(over.config.log_format, config::LogFormat::json);
  EXPECT_EQ(over.config.socket_mode, 0666u);
}

TEST(CommandLine, FlagsObeyTheFilesBounds) {
  const auto problem = [](std::vector<const char*> arguments) {
    arguments.insert(arguments.end(), {"--store", "mem:"});
    return effective_config(parse(std::move(arguments))).problems;
  };
  EXPECT_THAT(problem({"--workers", "0"}), ElementsAre("--workers: 0 is not between 1 and 256"));
  EXPECT_THAT(problem({"--lease-ms", "5"}),
              ElementsAre("--lease-ms: 5 is not between 100 and 600000"));
  EXPECT_THAT(problem({"--log-level", "loud"}),
              ElementsAre("--log-level: \"loud\" is not one of trace, debug, info, warning or "
                          "error"));
  EXPECT_THAT(problem({"--log-format", "xml"}),
              ElementsAre("--log-format: \"xml\" is not text or json"));
  EXPECT_THAT(problem({"--socket-mode", "rw"}),
              ElementsAre("--socket-mode: 'rw' is no mode; write it in octal, like \"0660\""));
  EXPECT_THAT(problem({"--spool-dir", "x"}),
              ElementsAre("--spool-dir: 'x' is no absolute path; write --spool-dir /var/tmp"));
  EXPECT_THAT(problem({"--spool-dir", "/nonexistent/spool"}),
              ElementsAre("--spool-dir: /nonexistent/spool: No such file or directory; make it "
                          "with: mkdir -p /nonexistent/spool, or choose another"));
  EXPECT_THAT(problem({"--spool-dir", "/etc/passwd"}),
              ElementsAre("--spool-dir: /etc/passwd is not a directory; choose another"));
  EXPECT_THAT(problem({"--listen", "0.0.0.0:1"}),
              ElementsAre(testing::StartsWith("--listen: '0.0.0.0:1' can be reached from other")));
  EXPECT_THAT(problem({"--listen", "0.0.0.0:1", "--allow-plaintext-tcp"}), IsEmpty());
}

TEST(Log, JsonLinesAreValidWhateverTheBytesAre) {
  EXPECT_EQ(json_line(1893456000'007, "info", "a \"quoted\"\nline"),
            R"({"time":"2030-01-01T00:00:00.007Z","level":"info","message":"a \"quoted\"\nline"})");
  EXPECT_THAT(json_line(0, "info", "\xff"), HasSubstr("\xef\xbf\xbd"));
}

TEST(Log, TextHasOneLineForEachMessage) {
  EXPECT_EQ(one_line("a\n2026-01-01T00:00:00.000 info: forged\x1b[2J\r\x7f\xc3\xa4"),
            "a\\n2026-01-01T00:00:00.000 info: forged\\x1b[2J\\x0d\\x7f\xc3\xa4");
}

TEST(Notify, WritesOneLineOfJsonAndCloses) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_TRUE(write_ready(ends[1], {"unix:/a", "127.0.0.1:7"}).ok());
  char text[200] = "";
  EXPECT_GT(read(ends[0], text, sizeof text - 1), 0);
  EXPECT_STREQ(text, "{\"listen\":[\"unix:/a\",\"127.0.0.1:7\"]}\n");
  EXPECT_EQ(read(ends[0], text, 1), 0);  // the end: it was closed
  close(ends[0]);
  const auto bad = write_ready(9999, {});
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message, "--ready-fd 9999: Bad file descriptor");
}

TEST(Notify, SpeaksToTheSupervisorsSocket) {
  char dir[] = "/tmp/linkspan-notify-XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  const std::string path = std::string(dir) + "/n";
  const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  setenv("NOTIFY_SOCKET", path.c_str(), 1);
  notify_supervisor("READY=1");
  unsetenv("NOTIFY_SOCKET");
  notify_supervisor("READY=1");  // nobody there: nothing happens
  char text[20] = "";
  EXPECT_EQ(recv(fd, text, sizeof text, MSG_DONTWAIT), 7);
  EXPECT_STREQ(text, "READY=1");
  EXPECT_LT(recv(fd, text, sizeof text, MSG_DONTWAIT), 0);
  close(fd);
  unlink(path.c_str());
  rmdir(dir);
}

}  // namespace
}  // namespace linkspan::daemon

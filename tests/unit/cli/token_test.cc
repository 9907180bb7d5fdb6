#include "fusefs/cli/token.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "fusefs/cli/system.h"

namespace linkspan::cli {
namespace {

const std::string kGood = "lsp_" + std::string(43, 'a');

Result<std::string> read_one(const TokenSource& source) {
  return read_token(source, take_token_variables(source));
}

class TokenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/linkspan-token-test.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
    for (const char* variable : {"LINKSPAN_TOKEN", "LINKSPAN_TOKEN_FILE", "CREDENTIALS_DIRECTORY"})
      ::unsetenv(variable);
  }
  void TearDown() override {
    ::unlink((dir_ + "/token").c_str());
    ::unlink((dir_ + "/linkspan-token").c_str());
    ::rmdir(dir_.c_str());
  }
  std::string file(const std::string& text, mode_t mode, const char* name = "/token") {
    EXPECT_TRUE(write_file(dir_ + name, text, mode).ok());
    return dir_ + name;
  }
  std::string dir_;
};

TEST_F(TokenTest, Form) {
  EXPECT_TRUE(has_token_form(kGood));
  EXPECT_TRUE(has_token_form("lsp_" + std::string(41, 'Z') + "-_"));
  EXPECT_FALSE(has_token_form(kGood + "a"));
  EXPECT_FALSE(has_token_form(kGood.substr(1)));
  EXPECT_FALSE(has_token_form("xsp_" + std::string(43, 'a')));
  EXPECT_FALSE(has_token_form("lsp_" + std::string(42, 'a') + "="));
  EXPECT_FALSE(has_token_form(""));
}

TEST_F(TokenTest, FileIsTrimmedAndItsModeChecked) {
  auto token = read_one({.file = file(kGood + "\n", 0600)});
  ASSERT_TRUE(token.ok()) << token.error().message;
  EXPECT_EQ(*token, kGood);
  EXPECT_TRUE(read_one({.file = file(kGood, 0640)}).ok());
  for (const mode_t mode : {0644u, 0620u, 0602u, 0666u}) {
    auto refused = read_one({.file = file(kGood, mode)});
    ASSERT_FALSE(refused.ok()) << std::oct << mode;
    EXPECT_EQ(refused.code(), Code::unauthenticated);
    EXPECT_NE(refused.error().message.find("chmod 600"), std::string::npos);
  }
}

TEST_F(TokenTest, NeverShowsWhatItRead) {
  const std::string secret = "nearly-a-token-but-not-quite";
  auto refused = read_one({.file = file(secret, 0600)});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message.find(secret), std::string::npos);
}

TEST_F(TokenTest, EnvironmentIsUsedAndRemoved) {
  ::setenv("LINKSPAN_TOKEN", kGood.c_str(), 1);
  const char* memory = ::getenv("LINKSPAN_TOKEN");
  auto token = read_one({});
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(*token, kGood);
  EXPECT_EQ(::getenv("LINKSPAN_TOKEN"), nullptr);
  EXPECT_EQ(*memory, '\0');
  EXPECT_FALSE(read_one({}).ok());
}

TEST_F(TokenTest, OrderOfSources) {
  const std::string other = "lsp_" + std::string(43, 'b');
  const std::string path = file(other, 0600);
  ::setenv("LINKSPAN_TOKEN", kGood.c_str(), 1);
  ::setenv("LINKSPAN_TOKEN_FILE", "/nonexistent", 1);
  EXPECT_EQ(read_one({.file = path}).value(), other);
  EXPECT_EQ(::getenv("LINKSPAN_TOKEN"), nullptr);
  EXPECT_EQ(::getenv("LINKSPAN_TOKEN_FILE"), nullptr);
  ::setenv("LINKSPAN_TOKEN_FILE", path.c_str(), 1);
  EXPECT_EQ(read_one({}).value(), other);
  file(kGood, 0644, "/linkspan-token");  // systemd looks after its modes
  ::setenv("CREDENTIALS_DIRECTORY", dir_.c_str(), 1);
  EXPECT_EQ(read_one({}).value(), kGood);
}

TEST_F(TokenTest, Descriptor) {
  auto pipe = make_pipe();
  ASSERT_TRUE(pipe.ok());
  ASSERT_TRUE(write_all(pipe->write.get(), kGood + "\n").ok());
  pipe->write.reset();
  EXPECT_EQ(read_one({.fd = pipe->read.release()}).value(), kGood);
  auto closed = read_one({.fd = 9999});
  ASSERT_FALSE(closed.ok());
  EXPECT_NE(closed.error().message.find("--token-fd 9999"), std::string::npos);
}

}  // namespace
}  // namespace linkspan::cli

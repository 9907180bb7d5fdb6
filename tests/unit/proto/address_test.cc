#include "linkspan/address.h"

#include <gtest/gtest.h>

namespace linkspan {
namespace {

TEST(Address, ReadsWhatItWrites) {
  for (const char* text :
       {"unix:/run/linkspan/router.sock", "127.0.0.1:7000", "[::1]:0", "localhost:65535",
        "router.example.org:1", "tls://router.example.org:7433", "tls://[::1]:0"}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address.ok()) << text << ": " << address.error().message;
    EXPECT_EQ(to_string(*address), text);
  }
}

TEST(Address, NamesWhatIsWrong) {
  const struct {
    std::string text, message;
  } cases[] = {
      {"", "host or port is missing; write unix:/path/to.sock, tls://host:port or host:port"},
      {":80", "host or port is missing; write unix:/path/to.sock, tls://host:port or host:port"},
      {"localhost",
       "host or port is missing; write unix:/path/to.sock, tls://host:port or host:port"},
      {"/run/x", "a path needs the prefix unix: (unix:/run/x)"},
      {"unix:", "the socket's path must be absolute; write unix:/path/to.sock"},
      {"unix:x", "the socket's path must be absolute; write unix:/path/to.sock"},
      {"unix:/", "the socket's path must be absolute; write unix:/path/to.sock"},
      {"tls://", "host or port is missing; write unix:/path/to.sock, tls://host:port or host:port"},
      {"tls://x",
       "host or port is missing; write unix:/path/to.sock, tls://host:port or host:port"},
      {"tls://tls://x:1", "write unix:/path/to.sock, tls://host:port or host:port"},
      {"tls:///x:1", "write unix:/path/to.sock, tls://host:port or host:port"},
      {" x:1", "write unix:/path/to.sock, tls://host:port or host:port"},
      {"http://x:1", "write unix:/path/to.sock, tls://host:port or host:port"},
      {"::1:80", "an IPv6 address goes in brackets; write [::1]:7000"},
      {"[::1:80", "the brackets are not closed; write [::1]:7000"},
      {"localhost:65536", "'65536' is not a port; it is a number from 0 to 65535"},
      {"localhost:", "'' is not a port; it is a number from 0 to 65535"},
      {"localhost:7x", "'7x' is not a port; it is a number from 0 to 65535"},
      {"unix:/" + std::string(107, 'a'),
       "the socket's path has 108 bytes, the kernel takes 107; choose a shorter one"},
  };
  for (const auto& c : cases) {
    const auto address = parse_address(c.text);
    ASSERT_FALSE(address.ok()) << c.text;
    EXPECT_EQ(address.error().message, c.message) << c.text;
  }
}

TEST(Address, KnowsWhatOnlyThisMachineReaches) {
  for (const char* text : {"unix:/x", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"})
    EXPECT_TRUE(is_local(*parse_address(text))) << text;
  for (const char* text : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "router:1", "128.0.0.1:1"})
    EXPECT_FALSE(is_local(*parse_address(text))) << text;
}

TEST(Address, IsTlsWhereItSaysSo) {
  EXPECT_TRUE(parse_address("tls://router:1")->tls);
  EXPECT_EQ(host_and_port(*parse_address("tls://[::1]:7")), "[::1]:7");
  for (const char* text : {"unix:/tls", "tls:1", "router:1"})
    EXPECT_FALSE(parse_address(text)->tls) << text;
}

}  // namespace
}  // namespace linkspan

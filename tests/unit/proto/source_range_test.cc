#include "linkspan/source_range.h"

#include <gtest/gtest.h>

#include <string>

namespace linkspan {
namespace {

std::vector<SourceRange> ranges(const std::vector<std::string>& texts) {
  std::vector<SourceRange> out;
  for (const std::string& text : texts) {
    const auto range = parse_source_range(text);
    EXPECT_TRUE(range.ok()) << (range.ok() ? "" : range.error().message);
    if (range.ok()) out.push_back(*range);
  }
  return out;
}

TEST(SourceRange, HoldsWhatIsInIt) {
  const auto some = ranges({"10.1.0.0/17", "192.0.2.7", "2001:db8::/33"});
  for (const char* peer :
       {"ipv4:10.1.0.0:1", "ipv4:10.1.127.255:65535", "ipv4:192.0.2.7:80", "ipv6:[2001:db8::1]:80",
        "ipv6:[2001:db8:7fff::]:80", "ipv6:[::ffff:10.1.2.3]:80", "ipv6:%5B2001:db8::1%5D:80"})
    EXPECT_TRUE(holds(some, peer)) << peer;
  for (const char* peer : {"ipv4:10.1.128.0:1", "ipv4:10.0.255.255:1", "ipv4:192.0.2.6:80",
                           "ipv6:[2001:db8:8000::]:80", "ipv6:[::10.1.2.3]:80", "unix:/run/x",
                           "unix:", "", "ipv4:", "ipv4:10.1.0.0/17", "10.1.2.3:80", "fd:10.1.2.3"})
    EXPECT_FALSE(holds(some, peer)) << peer;
  EXPECT_FALSE(holds({}, "ipv4:10.1.0.0:1"));
}

TEST(SourceRange, AUnixSocketIsLoopback) {
  EXPECT_TRUE(holds(ranges({"127.0.0.0/8"}), "unix:"));
  EXPECT_TRUE(holds(ranges({"::1"}), "unix:/run/linkspan/router.sock"));
  EXPECT_FALSE(holds(ranges({"10.0.0.0/8"}), "unix:"));
}

TEST(SourceRange, AllOfAKind) {
  EXPECT_TRUE(holds(ranges({"0.0.0.0/0"}), "ipv4:1.2.3.4:5"));
  EXPECT_FALSE(holds(ranges({"0.0.0.0/0"}), "ipv6:[2001:db8::1]:5"));
  EXPECT_TRUE(holds(ranges({"::/0"}), "ipv6:[2001:db8::1]:5"));
}

TEST(SourceRange, WhatIsNoneIsRefused) {
  for (const char* text : {"", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "localhost",
                           "10.0.0.0/-1", "10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.1/8",
                           "2001:db8::1/64", "/8", "10.0.0.0/8/8", "[::1]/128"})
    EXPECT_FALSE(parse_source_range(text).ok()) << text;
}

}  // namespace
}  // namespace linkspan

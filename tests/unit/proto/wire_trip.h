// Over the wire and back: domain -> protobuf -> bytes -> protobuf -> domain.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "linkspan/convert.h"

namespace linkspan::wire {

template <class Wire>
Wire over_the_wire(const Wire& sent) {
  Wire received;
  EXPECT_TRUE(received.ParseFromString(sent.SerializeAsString()));
  return received;
}

template <class Wire, class T>
auto round_trip(T value) {
  Wire sent;
  to_wire(std::move(value), &sent);
  return from_wire(over_the_wire(sent));
}

// The error of a message that must be refused, as "code: message".
template <class T>
std::string refusal(const Result<T>& result) {
  if (result.ok()) return "accepted";
  return std::string(linkspan::to_string(result.code())) + ": " + result.error().message;
}

inline Attr some_attr(Kind kind = Kind::file) {
  Attr attr;
  attr.ino = Ino(77);
  attr.kind = kind;
  attr.mode = 06755;
  attr.uid = 1000;
  attr.gid = 1001;
  attr.nlink = 3;
  attr.size = 5;
  attr.allocated = 65536;
  attr.atime = Time{-1};
  attr.mtime = Time{1700000000123456789};
  attr.ctime = Time{INT64_MAX};
  attr.btime = Time{INT64_MIN};
  attr.version = Version(9);
  attr.seq = Seq(1234);
  attr.has_xattrs = true;
  attr.parent = Ino(16);
  return attr;
}

inline Node some_file() {
  return Node{some_attr(), "", std::string("he\0lo", 5)};
}
inline Node some_directory() {
  return Node{some_attr(Kind::directory), "", std::nullopt};
}
inline Node some_symlink() {
  return Node{some_attr(Kind::symlink), "../x\xff", std::nullopt};
}

}  // namespace linkspan::wire

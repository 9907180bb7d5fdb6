// A scripted vfs behind the callbacks, and a kernel that misbehaves on purpose before them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "fusefs/fuse/vfs_ops.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/scripted_vfs.h"
#include "tests/support/slowdown.h"

namespace linkspan::test {

inline constexpr uint64_t kMinute = 60;  // seconds

inline Attr file_attr(uint64_t ino) {
  Attr attr;
  attr.ino = Ino(ino);
  attr.mode = 0644;
  attr.nlink = 1;
  attr.size = 5;
  attr.mtime = Time{1'500'000'000'123'456'789};
  return attr;
}

inline vfs::Entry entry_of(const ScriptedVfs& vfs, uint64_t ino) {
  vfs::Entry entry;
  entry.attr = file_attr(ino);
  entry.times = {double(kMinute), double(kMinute), vfs.gate.now()};
  return entry;
}

class Wire : public ::testing::Test {
 protected:
  void connect(FakeKernel::Options options = FakeKernel::Options()) {
    kernel = std::make_unique<FakeKernel>(operations.get(), &notifier, options);
  }
  void TearDown() override { kernel.reset(); }
  void answer_lookups() {
    vfs.on_lookup = [this](const vfs::Caller&, Ino, const std::string& name) {
      return Result<vfs::Entry>(entry_of(vfs, 100 + name.size()));
    };
  }
  static std::string named(const std::string& name) { return Bytes().name(name).str(); }
  static std::string opening(uint32_t flags) {
    fuse_open_in in = {};
    in.flags = flags;
    return Bytes().add(in).str();
  }
  static std::string reading(uint64_t offset, uint32_t size) {
    fuse_read_in in = {};
    in.fh = 1;
    in.offset = offset;
    in.size = size;
    return Bytes().add(in).str();
  }
  const fuse::Counters& counters() { return kernel->connection().counters(); }

  ScriptedVfs vfs;
  fuse::Notifier notifier{fuse::NotifierOptions{.root = kRoot}};
  std::unique_ptr<fuse::Operations> operations = fuse::make_vfs_operations(&vfs, &notifier, {});
  std::unique_ptr<FakeKernel> kernel;
};

}  // namespace linkspan::test

// A store as a router sees it: one tenant, opened, with volumes, a session, operation numbers, a
// log position and a clock that steps. Short calls for tests; nothing here decides anything.
//
// Threads: one World is one thread's, apart from what says otherwise; fork() gives another thread
// its own session over the same store and the same sequence of numbers.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "linkspan/limits.h"
#include "routerd/store/store.h"

namespace linkspan::test {

// The value, or a test failure at the caller's line (thrown: the test ends).
template <class T>
T must(Result<T> result, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (result.ok()) return std::move(result).value();
  const std::string text = std::string(file) + ":" + std::to_string(line) + ": " +
                           std::string(to_string(result.code())) + ": " + result.error().message;
  throw std::runtime_error(text);
}

// The code of a result, or nothing. For EXPECT_EQ(code_of(...), Code::exists).
template <class T>
std::optional<Code> code_of(const Result<T>& result) {
  if (result.ok()) return std::nullopt;
  return result.code();
}

std::shared_ptr<ExtentSource> extents(std::vector<Extent> list);
// One extent of data at an offset.
std::shared_ptr<ExtentSource> extent(uint64_t offset, std::string data);
Extent hole(uint64_t offset, uint64_t length);

class World {
 public:
  // Provisions and opens a tenant with two volumes, "memory" and "other".
  World(std::shared_ptr<store::Store> store, const std::string& tenant);
  // Opens a tenant that is there: another router, or the same one started again.
  static World reopen(std::shared_ptr<store::Store> store, const std::string& tenant);
  // Another session of this router.
  World fork() const;

  store::Store& store() { return *store_; }
  const store::TenantState& state() const { return state_; }
  Ino root() const { return state_.volumes.at(0).root; }
  Ino other_root() const { return state_.volumes.at(1).root; }
  VolumeId volume() const { return state_.volumes.at(0).id; }
  VolumeId other_volume() const { return state_.volumes.at(1).id; }
  SessionId session() const { return author.session; }
  Time now() const { return Time{shared_->now.load()}; }

  // The next mutation's frame: new seq, new inode number, a later time.
  store::Mutation next();
  OpHeader op();
  Ino unused_ino();

  // Mutations, each with a new operation number.
  Result<store::Applied> create(Ino parent, const std::string& name, Kind kind = Kind::file,
                                uint32_t mode = 0644);
  Result<store::Applied> symlink(Ino parent, const std::string& name, const std::string& target);
  Result<store::Applied> unlink(Ino parent, const std::string& name);
  Result<store::Applied> rmdir(Ino parent, const std::string& name);
  Result<store::Applied> rename(Ino from, const std::string& from_name, Ino to,
                                const std::string& to_name);
  Result<store::Applied> rename(RenameRequest request);
  Result<store::Applied> exchange(Ino from, const std::string& from_name, Ino to,
                                  const std::string& to_name);
  Result<store::Applied> link(Ino ino, Ino parent, const std::string& name);
  Result<store::Applied> set(SetAttrRequest request);
  Result<store::Applied> truncate(Ino ino, uint64_t size);
  Result<store::Applied> commit(CommitRequest request);
  // The whole content, as after O_TRUNC.
  Result<store::Applied> rewrite(Ino ino, const std::string& data);
  // Bytes over what is there.
  Result<store::Applied> overwrite(Ino ino, uint64_t offset, const std::string& data);
  Result<store::Applied> append(Ino ino, const std::string& data);
  Result<store::Applied> set_xattr(Ino ino, const std::string& name, const std::string& value);
  Result<store::Applied> remove_xattr(Ino ino, const std::string& name);

  // The same, when nothing but success is expected: the first node of the reply.
  Ino make_file(Ino parent, const std::string& name, const std::string& content = {});
  Ino make_dir(Ino parent, const std::string& name);

  Attr attr(Ino ino);
  std::optional<Node> find(Ino parent, const std::string& name, bool want_content = false);
  std::string content(Ino ino, Version version = {});
  // All of them, page by page.
  std::vector<DataRange> data_ranges(Ino ino, Version version = {}, uint64_t from = 0);
  std::vector<VersionInfo> versions(Ino ino, Version before = {}, uint32_t limit = 100);
  std::vector<Change> changes(Seq after = {}, uint32_t limit = limits::kHistoryPage);
  std::vector<std::string> names(Ino dir);
  std::vector<DirEntry> list(Ino dir, uint32_t page = 1024, bool want_content = false);

  store::Scope scope;
  store::Author author;

 private:
  struct Shared {
    std::atomic<int64_t> now{1700000000000000123};
    std::atomic<uint64_t> seq{0};
  };
  World() = default;
  void open(const std::string& tenant);
  void start_session();

  std::shared_ptr<store::Store> store_;
  std::shared_ptr<Shared> shared_;
  store::TenantState state_;
  uint64_t last_op_ = 0;
  uint64_t next_ino_ = 0, end_ino_ = 0;
};

// The attributes of the n-th node of a reply.
inline const Attr& attr_of(const store::Applied& applied, size_t n = 0) {
  return applied.reply.nodes.at(n).attr;
}

}  // namespace linkspan::test

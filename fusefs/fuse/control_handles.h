// What is open on the top connection: a text, a live file, or a query. The kernel's handle is the
// object's address.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

#include "fusefs/fuse/control_fs.h"
#include "fusefs/fuse/request.h"

namespace linkspan::fuse {

// A place among so many; none when they are taken.
class Turn {
 public:
  Turn(std::atomic<int>& taken, int most) : taken_(&taken) {
    if (taken.fetch_add(1) < most) return;
    taken.fetch_sub(1);
    taken_ = nullptr;
  }
  ~Turn() {
    if (taken_) taken_->fetch_sub(1);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  explicit operator bool() const { return taken_ != nullptr; }

 private:
  std::atomic<int>* taken_;
};

// Threads: any, several at once.
class ControlHandle {
 public:
  virtual ~ControlHandle() = default;
  virtual void read(Request& r, uint64_t offset, size_t size) = 0;
  virtual void write(Request& r, uint64_t offset, std::string_view data);
};

// Made at the open, whole, so that one reader sees one state.
class TextHandle final : public ControlHandle {
 public:
  explicit TextHandle(std::string text) : text_(std::move(text)) {}
  void read(Request& r, uint64_t offset, size_t size) override;

 private:
  const std::string text_;
};

class LiveHandle final : public ControlHandle {
 public:
  LiveHandle(LiveFolders::File file, std::atomic<int>* slow)
      : file_(std::move(file)), slow_(slow) {}
  void read(Request& r, uint64_t offset, size_t size) override;

 private:
  const LiveFolders::File file_;
  std::atomic<int>* const slow_;
};

// A write leaves a request; the first read after it asks, the others are told the same answer.
class QueryHandle final : public ControlHandle {
 public:
  // `open`: of all queries; this one has been counted.
  QueryHandle(const ControlTree::Query* query, std::atomic<int>* open, std::atomic<int>* slow)
      : query_(query), open_(open), slow_(slow) {}
  ~QueryHandle() override { open_->fetch_sub(1); }
  void read(Request& r, uint64_t offset, size_t size) override;
  void write(Request& r, uint64_t offset, std::string_view data) override;

 private:
  enum class State : uint8_t { idle, asked, asking, answered };
  bool begin(std::string* request);
  void end(State state, std::string answer);
  bool ask(Request& r, const std::string& request);

  const ControlTree::Query* const query_;
  std::atomic<int>* const open_;
  std::atomic<int>* const slow_;
  std::mutex mutex_;  // of the rest; not held while it is asked
  State state_ = State::idle;
  std::string request_, answer_;
  uint64_t begin_ = 0;  // the offset at which the answer begins
};

}  // namespace linkspan::fuse

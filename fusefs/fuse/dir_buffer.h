// The reply to READDIR and READDIRPLUS, filled up to the size the kernel asked for.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "fusefs/fuse/lowlevel.h"

namespace linkspan::fuse {

class DirBuffer {
 public:
  DirBuffer(fuse_req_t request, size_t size, bool plus)
      : request_(request), plus_(plus), buffer_(std::min(size, kMost), '\0') {}

  // How many entries could fit at most: with names of one byte.
  size_t most_entries() const { return buffer_.size() / entry_size("x") + 1; }

  // False: no room for it. `next` is the offset to go on from after this entry.
  bool add(const std::string& name, const fuse_entry_param& entry, uint64_t next) {
    char* at = buffer_.data() + used_;
    size_t room = buffer_.size() - used_;
    auto offset = static_cast<off_t>(next);
    size_t need = plus_ ? fuse_add_direntry_plus(request_, at, room, name.c_str(), &entry, offset)
                        : fuse_add_direntry(request_, at, room, name.c_str(), &entry.attr, offset);
    if (need > room) return false;
    used_ += need;
    return true;
  }

  void clear() { used_ = 0; }
  bool plus() const { return plus_; }
  bool empty() const { return used_ == 0; }
  std::string_view data() const { return {buffer_.data(), used_}; }

 private:
  static constexpr size_t kMost = 1 << 20;  // bytes of one reply

  size_t entry_size(const char* name) const {
    return plus_ ? fuse_add_direntry_plus(request_, nullptr, 0, name, nullptr, 0)
                 : fuse_add_direntry(request_, nullptr, 0, name, nullptr, 0);
  }

  fuse_req_t request_;
  bool plus_;
  std::string buffer_;
  size_t used_ = 0;
};

}  // namespace linkspan::fuse

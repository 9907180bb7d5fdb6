// The bytes of one version of a file: from the cache, else from the router in windows of up to 1
// MiB that grow while the reader is sequential.
//
// Threads: any. Waits for the router without a lock.
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "fusefs/cache/content_cache.h"
#include "fusefs/cache/single_flight.h"
#include "fusefs/vfs/calls.h"

namespace linkspan::vfs {

class Contents {
 public:
  Contents(client::RouterClient* client, cache::ContentCache* cache)
      : client_(client), cache_(cache) {}

  // Bytes [offset, offset + size) of a version that has them all. `whole`: its size, if that is
  // known. `run`: how many reads the caller made in sequence. `not_found`: the store has not kept
  // this version, or the number is another content's by now.
  Status read(const Doing& doing, const cache::ContentId& id, std::optional<uint64_t> whole,
              uint64_t offset, char* out, size_t size, uint32_t run);

  uint64_t hits() const { return hits_; }
  uint64_t misses() const { return misses_; }

 private:
  struct Window {
    cache::ContentId id;
    uint64_t offset = 0;
    uint32_t length = 0;
    bool operator==(const Window&) const = default;
  };
  struct WindowHash {
    size_t operator()(const Window& w) const noexcept {
      return std::hash<Ino>{}(w.id.ino) ^ (std::hash<Version>{}(w.id.version) << 1) ^
             (w.offset * 0x9E3779B97F4A7C15ull);
    }
  };
  static Window window(const cache::ContentId& id, uint64_t offset, size_t size, uint32_t run);
  Result<std::string> fetch(const Doing& doing, const Window& window,
                            std::optional<uint64_t> whole);
  Result<ReadReply> ask(const Doing& doing, const Window& window, std::optional<uint64_t> whole);

  client::RouterClient* client_;  // not owned
  cache::ContentCache* cache_;    // not owned
  cache::SingleFlight<Window, std::string, WindowHash> flights_;
  std::atomic<uint64_t> hits_{0}, misses_{0};
};

}  // namespace linkspan::vfs

// The messages by number: the first byte of an input says which one the rest is.
#pragma once

#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>

#include "linkspan/convert.h"
#include "linkspan/convert_locks.h"

namespace linkspan::fuzz {

// Append only: the corpus counts on it.
template <class... T>
struct Messages {
  static constexpr uint8_t kCount = sizeof...(T);

  template <class Wanted>
  static constexpr uint8_t number_of() {
    uint8_t number = 0, at = 0;
    ((std::is_same_v<T, Wanted> ? number = at++ : at++), ...);
    return number;
  }
  // Calls each.template operator()<T>() of that number's.
  template <class Each>
  static void with(uint8_t number, Each each) {
    uint8_t at = 0;
    ((at++ == number ? each.template operator()<T>() : void()), ...);
  }
};

using Requests =
    Messages<v1::LookupRequest, v1::GetAttrRequest, v1::ReadDirRequest, v1::ReadRequest,
             v1::DataRangesRequest, v1::XattrsRequest, v1::StatFsRequest, v1::CreateRequest,
             v1::RemoveRequest, v1::RenameRequest, v1::LinkRequest, v1::SetAttrRequest,
             v1::SetXattrRequest, v1::VersionsRequest, v1::ChangesRequest, v1::ConflictsRequest,
             v1::SettleRequest, v1::GiveUpRequest, v1::PrefetchRequest, v1::SetLockRequest,
             v1::TestLockRequest, v1::CancelLockRequest, v1::ReclaimLocksRequest, v1::AttachRequest,
             v1::NarrowRequest, v1::ClientFrame, v1::CommitPart::Head>;

using Replies =
    Messages<v1::LookupReply, v1::NodeReply, v1::ReadDirReply, v1::ReadReply, v1::DataRangesReply,
             v1::XattrsReply, v1::StatFsReply, v1::MutationReply, v1::VersionsReply,
             v1::ChangesReply, v1::ConflictsReply, v1::GiveUpReply, v1::PrefetchReply,
             v1::SetLockReply, v1::TestLockReply, v1::CancelLockReply, v1::ReclaimLocksReply,
             v1::AttachReply, v1::NarrowReply, v1::RouterFrame>;

// Protobuf says of each input on stderr what is wrong with it.
inline void be_quiet() {
  google::protobuf::SetLogHandler(nullptr);
}

inline void require(bool true_of_it, const char* what) {
  if (true_of_it) return;
  std::fprintf(stderr, "fuzz: not true: %s\n", what);
  std::abort();
}

// Whatever is refused is refused in words that fit into an answer.
inline void require_words(const Error& error) {
  require(!error.message.empty() && error.message.size() <= limits::kErrorTextBytes,
          "an error has a message, which fits");
}

template <class Domain, class Wire>
void write(Domain&& domain, Wire* out) {
  if constexpr (std::is_same_v<Wire, v1::RouterFrame>)
    std::visit([out](auto& frame) { wire::to_wire(frame, out); }, domain);
  else
    wire::to_wire(std::move(domain), out);
}

// What converts converts back, to what converts to the same.
template <class Wire>
void there_and_back(const char* bytes, size_t size) {
  Wire message;
  if (!message.ParseFromArray(bytes, static_cast<int>(size))) return;
  auto domain = wire::from_wire(Wire(message));
  if (!domain.ok()) return require_words(domain.error());
  Wire sent, again;
  write(*std::move(domain), &sent);
  auto received = wire::from_wire(Wire(sent));
  require(received.ok(), "what was taken in is let out as something that is taken in");
  write(*std::move(received), &again);
  require(sent.SerializeAsString() == again.SerializeAsString(),
          "what is sent and received is the same");
}

}  // namespace linkspan::fuzz

// Every request as the router reads it: bytes, protobuf, convert. Numbers behind those of the
// messages: a commit's parts, the metadata that says whose call it is.
#include <algorithm>

#include "tests/fuzz/messages.h"

namespace linkspan::fuzz {
namespace {

// Each with its length before it, in two bytes.
void commit(const char* bytes, size_t size) {
  wire::ExtentReader reader;
  std::vector<Extent> extents;
  uint64_t end = 0;
  while (size >= 2) {
    size_t part = static_cast<unsigned char>(bytes[0]) | static_cast<unsigned char>(bytes[1]) << 8;
    part = std::min(part, size - 2);
    v1::CommitPart message;
    if (!message.ParseFromArray(bytes + 2, static_cast<int>(part))) return;
    if (const auto taken = reader.take(std::move(message), &extents); !taken.ok())
      return require_words(taken.error());
    bytes += 2 + part;
    size -= 2 + part;
  }
  for (const Extent& extent : extents) {
    require(extent.offset >= end && extent.length > 0, "extents ascend");
    end = extent.offset + extent.length;
    require(end <= limits::kFileBytes, "extents end within a file");
    require(extent.data.empty() || extent.data.size() == extent.length, "data is as long as said");
  }
}

void credential(const char* bytes, size_t size) {
  const std::string text(bytes, size);
  const auto who = wire::decode_credential(text);
  if (!who.ok()) return require_words(who.error());
  require(wire::encode_credential(*who) == text, "a credential is encoded as it was");
}

}  // namespace
}  // namespace linkspan::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  linkspan::fuzz::be_quiet();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace linkspan::fuzz;
  if (size == 0) return 0;
  const char* rest = reinterpret_cast<const char*>(data) + 1;
  const uint8_t number = data[0] % (Requests::kCount + 2);
  if (number == Requests::kCount) commit(rest, size - 1);
  if (number == Requests::kCount + 1) credential(rest, size - 1);
  Requests::with(number, [&]<class Wire>() { there_and_back<Wire>(rest, size - 1); });
  return 0;
}

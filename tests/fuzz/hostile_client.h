// The client of a mount whose router answers whatever the input says, within what convert lets
// through: each reply is made as a message, and converted.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <chrono>
#include <mutex>

#include "fusefs/client/router_client.h"
#include "linkspan/convert.h"
#include "linkspan/convert_locks.h"

namespace linkspan::fuzz {

// Numbers that meet each other, and those at the ends of their types.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data, size) {}
  bool left() {
    const std::lock_guard lock(mutex_);
    return data_.remaining_bytes() > 0;
  }
  uint64_t number(uint64_t most = UINT64_MAX) {
    const std::lock_guard lock(mutex_);
    switch (data_.ConsumeIntegral<uint8_t>() % 4) {
      case 0:
        return std::min<uint64_t>(data_.ConsumeIntegral<uint8_t>(), most);
      case 1:
        return std::min<uint64_t>(data_.ConsumeIntegral<uint32_t>(), most);
      case 2:
        return most - std::min<uint64_t>(data_.ConsumeIntegral<uint8_t>(), most);
      default:
        return std::min(data_.ConsumeIntegral<uint64_t>(), most);
    }
  }
  uint8_t small(uint8_t most) {
    const std::lock_guard lock(mutex_);
    return data_.ConsumeIntegralInRange<uint8_t>(0, most);
  }
  bool flag() { return small(1) != 0; }
  // An inode that is one of a few, or any.
  uint64_t ino() {
    const uint8_t which = small(15);
    return which == 15 ? std::max<uint64_t>(number(limits::kLastNumber), 1) : 16 + which;
  }
  std::string name() {
    const uint8_t which = small(7);
    if (which < 7) return std::string(1, static_cast<char>('a' + which));
    const std::lock_guard lock(mutex_);
    return data_.ConsumeRandomLengthString(300);
  }
  std::string bytes(size_t most) {
    const std::lock_guard lock(mutex_);
    return data_.ConsumeRandomLengthString(most);
  }

 private:
  std::mutex mutex_;  // leaf; the mount's own threads ask too
  FuzzedDataProvider data_;
};

class HostileClient final : public client::RouterClient {
 public:
  explicit HostileClient(Input* input) : in_(*input) {}

  Result<client::SessionInfo> attach(const client::Call&, client::SessionListener*) override {
    return fail(Code::unsupported, "not attached here");
  }
  void detach() override {}
  client::LinkState link() const override { return {client::Link::connected, {}, {}, {}, {}}; }
  bool lease_valid() const override { return true; }
  std::chrono::nanoseconds lease_left() const override { return std::chrono::seconds(5); }

  Result<LookupReply> lookup(const client::Call&, const LookupRequest&) override;
  Result<NodeReply> getattr(const client::Call&, const GetAttrRequest& request) override;
  Result<ReadDirReply> readdir(const client::Call&, const ReadDirRequest& request) override;
  Result<ReadReply> read(const client::Call&, const ReadRequest& request) override;
  Result<DataRangesReply> data_ranges(const client::Call&, const DataRangesRequest&) override;
  Result<XattrsReply> xattrs(const client::Call&, Ino) override;
  Result<StatFsReply> statfs(const client::Call&, Ino) override;
  Result<std::vector<VersionInfo>> versions(const client::Call&, const VersionsRequest&) override;
  Result<ChangesReply> changes(const client::Call&, const ChangesRequest&) override;
  Result<ConflictsReply> conflicts(const client::Call&, const ConflictsRequest&) override;
  Status prefetch(const client::Call&, Ino, uint64_t, uint32_t,
                  const std::function<bool(Ino, ReadDirReply)>&) override {
    return fail(Code::unsupported, "no mount calls it");
  }
  Result<Seq> give_up(const client::Call&, OpNumber) override { return Seq(in_.number()); }

  Result<MutationReply> create(const client::Call&, CreateRequest) override { return mutation(); }
  Result<MutationReply> remove(const client::Call&, RemoveRequest) override { return mutation(); }
  Result<MutationReply> rename(const client::Call&, RenameRequest) override { return mutation(); }
  Result<MutationReply> link(const client::Call&, LinkRequest) override { return mutation(); }
  Result<MutationReply> set_attributes(const client::Call&, SetAttrRequest) override {
    return mutation();
  }
  Result<MutationReply> commit(const client::Call&, CommitRequest request) override;
  Result<MutationReply> set_xattr(const client::Call&, SetXattrRequest) override {
    return mutation();
  }
  Result<MutationReply> settle(const client::Call&, SettleRequest) override { return mutation(); }

  Status set_lock(const client::Call&, const Lock&, LockWait) override;
  Result<TestLockReply> test_lock(const client::Call&, const Lock&) override;

  // As the stream tells it; nothing: it was refused.
  std::optional<Revocation> revocation();

 private:
  // Of an answer that is none; nothing: it is one.
  std::optional<Error> refusal();
  // `ino`: most often of what was asked for.
  void make_node(v1::Node* out, Ino ino = {});
  Result<MutationReply> mutation();

  Input& in_;
};

}  // namespace linkspan::fuzz

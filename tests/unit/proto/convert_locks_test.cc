#include "linkspan/convert_locks.h"

#include "wire_trip.h"

namespace linkspan::wire {
namespace {

Lock some_lock() {
  return {Ino(77), LockKind::record, UINT64_MAX, LockType::exclusive, {5, limits::kLockEnd}, 4711,
          true};
}

TEST(ConvertLocks, RoundTrips) {
  const SetLockRequest set{OpNumber(9), OpNumber(4), some_lock(), LockWait::stay};
  const auto back = round_trip<v1::SetLockRequest>(set);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->number, set.number);
  EXPECT_EQ(back->answered_below, set.answered_below);
  EXPECT_EQ(back->lock, set.lock);
  EXPECT_EQ(back->wait, set.wait);
  EXPECT_EQ(round_trip<v1::TestLockRequest>(TestLockRequest{some_lock()})->lock, some_lock());
  EXPECT_EQ(round_trip<v1::CancelLockRequest>(CancelLockRequest{OpNumber(3), OpNumber(2)})->number,
            OpNumber(3));
  EXPECT_EQ(round_trip<v1::ReclaimLocksRequest>(ReclaimLocksRequest{{some_lock()}})->locks,
            std::vector<Lock>{some_lock()});
  EXPECT_EQ(round_trip<v1::SetLockReply>(SetLockReply{12})->order, 12u);
  EXPECT_EQ(round_trip<v1::TestLockReply>(TestLockReply{some_lock(), true})->blocker, some_lock());
  EXPECT_FALSE(round_trip<v1::TestLockReply>(TestLockReply{})->blocker);
  EXPECT_TRUE(round_trip<v1::CancelLockReply>(CancelLockReply{true, 3})->granted);
  EXPECT_EQ(round_trip<v1::ReclaimLocksReply>(ReclaimLocksReply{{0, 7}})->lost,
            (std::vector<uint32_t>{0, 7}));
}

template <class Edit>
std::string set_refusal(Edit&& edit) {
  v1::SetLockRequest m;
  to_wire(SetLockRequest{OpNumber(9), OpNumber(4), some_lock(), LockWait::no}, &m);
  edit(m);
  return refusal(from_wire(m));
}

TEST(ConvertLocks, RefusesWhatIsOutOfBounds) {
  EXPECT_EQ(set_refusal([](auto&) {}), "accepted");
  EXPECT_NE(set_refusal([](auto& m) { m.set_number(0); }).find("number"), std::string::npos);
  EXPECT_NE(set_refusal([](auto& m) { m.set_answered_below(10); }).find("answered_below"),
            std::string::npos);
  EXPECT_NE(set_refusal([](auto& m) { m.set_wait(3); }).find("wait"), std::string::npos);
  EXPECT_NE(set_refusal([](auto& m) { m.clear_lock(); }).find("lock.ino"), std::string::npos);
  EXPECT_NE(set_refusal([](auto& m) { m.mutable_lock()->set_kind(3); }).find("lock.kind"),
            std::string::npos);
  EXPECT_NE(set_refusal([](auto& m) { m.mutable_lock()->set_type(3); }).find("lock.type"),
            std::string::npos);
  EXPECT_NE(set_refusal([](auto& m) { m.mutable_lock()->set_end(5); }).find("lock.end"),
            std::string::npos);
  EXPECT_NE(set_refusal([](auto& m) {
              m.mutable_lock()->set_end(limits::kLockEnd + 1);
            }).find("lock.end"),
            std::string::npos);
  EXPECT_NE(set_refusal([](auto& m) {
              m.mutable_lock()->set_begin(limits::kLockEnd);
            }).find("lock.begin"),
            std::string::npos);
  EXPECT_NE(set_refusal([](auto& m) { m.mutable_lock()->set_kind(2); }).find("whole file"),
            std::string::npos);
  EXPECT_EQ(set_refusal([](auto& m) { m.mutable_lock()->set_type(0); }), "accepted") << "an unlock";

  v1::ReclaimLocksRequest reclaim;
  to_wire(ReclaimLocksRequest{{some_lock()}}, &reclaim);
  reclaim.mutable_locks(0)->set_type(0);
  EXPECT_NE(refusal(from_wire(reclaim)).find("lock.type"), std::string::npos);
  for (size_t i = 0; i < limits::kLocksPerSession; ++i) reclaim.add_locks();
  EXPECT_NE(refusal(from_wire(reclaim)).find("locks"), std::string::npos);

  v1::ReclaimLocksReply lost;
  lost.add_lost(4);
  lost.add_lost(4);
  EXPECT_NE(refusal(from_wire(std::move(lost))).find("lost"), std::string::npos);
}

}  // namespace
}  // namespace linkspan::wire

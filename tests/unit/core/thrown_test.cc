// Of an exception within a mutation: nobody waits for it for ever, and nothing stays cached that it
// may have changed.
#include <stdexcept>

#include "fixture.h"

namespace linkspan::core::testing {
namespace {

Status thrown() {
  throw std::runtime_error("planted");
}

TEST_F(CoreTest, AMutationThatThrowsIsRevokedAnsweredAndOver) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  sink->next();
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());
  store_->after("commit", thrown);  // it is applied
  CommitRequest request = a.rewrite(x, "new");
  const OpNumber number = request.op.number;
  const Pending written;
  EXPECT_THROW(router_->commit(a.who, request, Pending(written).done()), std::runtime_error);
  store_->after("commit", nullptr);

  std::promise<Result<Seq>> given_up;
  router_->give_up(a.who, number, [&](Result<Seq> last) { given_up.set_value(std::move(last)); });
  const Frame revoked = sink->next();
  ASSERT_EQ(revoked.kind, Frame::revoke);
  ASSERT_EQ(revoked.revocation.nodes.size(), 1u);
  EXPECT_EQ(revoked.revocation.nodes[0].ino, x);
  EXPECT_FALSE(written.answered());
  b.ack(revoked.revocation.number);
  EXPECT_EQ(written.get().code(), Code::internal);
  auto over = given_up.get_future();
  ASSERT_EQ(over.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(over.get().ok());
  // Its number is not under way: what came later may be cached.
  const Outcome later = a.start_write(a.create(a.root(), "y"), "later").get();
  ASSERT_TRUE(later.ok());
  EXPECT_GE(router_->getattr(b.who, {x})->as_of, later->seq);
  EXPECT_EQ(b.content(x), "new");
}

TEST_F(CoreTest, ARetryOfWhatThrewIsATryOfItsOwn) {
  Mount a = mount();
  CreateRequest request;
  request.op = a.op();
  request.parent = a.root();
  request.name = "x";
  for (const char* call : {"reserve_inodes", "create"}) {
    store_->before(call, thrown);
    const Pending created;
    EXPECT_THROW(router_->create(a.who, request, Pending(created).done()), std::runtime_error);
    EXPECT_EQ(created.get().code(), Code::internal) << call;
    store_->before(call, nullptr);
    request.op.retry = true;
  }
  EXPECT_TRUE(a.start(request).get().ok());
}

}  // namespace
}  // namespace linkspan::core::testing

// What lowering adds, on schedules small enough to write down. That it is PyTorch's at real sizes: golden_test.cpp.
#include "titan/parallel/pipeline/schedule/lower.h"

#include <gtest/gtest.h>

#include "titan/parallel/pipeline/schedule/csv.h"
#include "titan/parallel/pipeline/schedule/registry.h"

namespace titan::pipeline {
namespace {

TEST(Lower, SendsBetweenRanksOnly) {
  // A V over 2 ranks: stage 1 and 2 are neighbours on rank 1.
  EXPECT_EQ(to_csv(lower(make_schedule("ZBVZeroBubble", {2, 4, 1}))),
            "0UNSHARD,3UNSHARD,0F0,0SEND_F0,3RECV_F0,3F0,3I0,3SEND_B0,3W0,3REDUCE_GRAD,3RESHARD,0RECV_B0,0I0,0W0,"
            "0REDUCE_GRAD,0RESHARD\n"
            "1UNSHARD,2UNSHARD,1RECV_F0,1F0,2F0,2SEND_F0,2RECV_B0,2I0,2W0,2REDUCE_GRAD,2RESHARD,1I0,1SEND_B0,1W0,"
            "1REDUCE_GRAD,1RESHARD\n");
  EXPECT_EQ(to_csv(lower(make_schedule("GPipe", {1, 1, 2}))), "0UNSHARD,0F0,0F1,0B0,0B1,0REDUCE_GRAD,0RESHARD\n");
}

TEST(Lower, HoldsNoMoreStagesThanItMay) {
  // One rank with four stages: with room for one, each is gathered when its turn comes, and again for its backward.
  EXPECT_EQ(
      to_csv(lower(make_schedule("LoopedBFS", {1, 4, 1}), {.max_active_stages = 1})),
      "0UNSHARD,0F0,0RESHARD,1UNSHARD,1F0,1RESHARD,2UNSHARD,2F0,2RESHARD,3UNSHARD,3F0,3B0,3REDUCE_GRAD,3RESHARD,"
      "2UNSHARD,2B0,2REDUCE_GRAD,2RESHARD,1UNSHARD,1B0,1REDUCE_GRAD,1RESHARD,0UNSHARD,0B0,0REDUCE_GRAD,0RESHARD\n");
}

}  // namespace
}  // namespace titan::pipeline

//! What every engine promises. Each promise is a function of the world; [`on_every_world!`] makes tests of them.

mod hosts;
mod services;
mod tasks;

use shipmate::domain::plan::{Plan, Target};

pub use hosts::*;
pub use services::*;
pub use tasks::*;

use super::scene::Scene;

/// Makes a test of each promise; `$open` opens the world, given whether the test needs it alone.
macro_rules! on_every_world {
    ($open:path) => {
        on_every_world! { $open, Shared:
            a_tag_is_resolved_and_an_unknown_one_is_told,
            a_pull_brings_the_content_once,
            a_content_that_the_registry_has_not_is_missing,
            a_service_starts_becomes_healthy_stops_and_is_kept,
            the_undo_of_a_start_leaves_nothing,
            the_undo_of_a_stop_starts_it_again,
            undo_of_what_was_never_begun_is_done,
            a_task_runs_once_however_often_it_is_applied,
            a_failed_task_says_its_exit_status,
            a_task_killed_by_a_signal_is_no_success,
            a_task_that_overruns_its_deadline_is_killed,
            a_task_goes_on_while_the_bot_is_away,
            the_undo_of_a_task_ends_it,
            an_images_own_health_check_counts,
            what_never_gets_healthy_says_its_last_answer,
            what_starts_slowly_is_waited_for,
            what_crashes_at_start_fails_at_once,
            what_ignores_term_is_killed,
            tag_and_revert_are_recorded_and_put_back,
            pruning_removes_what_is_named_and_nothing_that_runs,
            secrets_are_masked_wherever_they_come_out,
            an_unset_secret_is_named,
            preflight_sees_too_little_space,
            a_balancer_is_told_and_told_again,
            a_service_of_commands_is_switched,
            logs_are_the_last_lines,
        }
        on_every_world! { $open, Alone:
            without_a_registry_nothing_is_resolved_or_pulled_and_the_kept_one_starts,
            a_host_that_is_down_is_named_and_the_others_are_seen,
        }
    };
    ($open:path, $company:ident: $($promise:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let world = $open($crate::engine::world::Company::$company).await;
                $crate::engine::contract::$promise(&world).await;
            }
        )*
    };
}
pub(crate) use on_every_world;

/// Pulls and starts a build.
async fn up(scene: &Scene, target: &Target, tag: &str) -> Plan {
    let plan = scene.plan(tag, Vec::new()).await;
    scene.apply(&plan, &scene.pull(target)).await.unwrap();
    scene.apply(&plan, &scene.start(target, tag)).await.unwrap();
    plan
}

//! File against decisions of run time, by the words of the rule, over many sequences of both.

use proptest::prelude::*;

use super::*;

/// Pools that need no proof, so that everything applies at once.
fn file(weights: usize, fall: u32) -> String {
    format!(
        r#"
[[listeners]]
address = "127.0.0.1:8080"

[services.shop]
weights = {{ {} }}
probe = false
timeouts = {{ connect = "{fall}s" }}
pools.blue.endpoints  = ["10.0.0.1:80"]
pools.green.endpoints = ["10.0.1.1:80"]
pools.red.endpoints   = ["10.0.2.1:80"]
"#,
        SPLITS[weights].replace(' ', ", ")
    )
}

const SPLITS: [&str; 5] = [
    "blue=100",
    "blue=90 green=10",
    "green=100",
    "blue=1 green=1 red=1",
    "red=100",
];

#[derive(Debug, Clone)]
enum Step {
    Edit(usize),
    EditElsewhere,
    Decide(usize),
    Restart,
    EditWhileStopped(usize),
    Revert,
}

fn step() -> impl Strategy<Value = Step> {
    let split = 0..SPLITS.len();
    prop_oneof![
        3 => split.clone().prop_map(Step::Edit),
        1 => Just(Step::EditElsewhere),
        4 => split.clone().prop_map(Step::Decide),
        1 => Just(Step::Restart),
        1 => split.prop_map(Step::EditWhileStopped),
        1 => Just(Step::Revert),
    ]
}

/// The rule: a decision stands until the file says something else than it did when the decision was made.
struct Model {
    file: usize,
    /// The decision, and what the file said.
    decided: Option<(usize, usize)>,
    elsewhere: u32,
}

impl Model {
    fn serving(&self) -> usize {
        self.decided.map_or(self.file, |(decided, _)| decided)
    }

    fn edit(&mut self, file: usize) {
        self.file = file;
        self.decided = self.decided.filter(|(_, declared)| *declared == file);
    }

    fn text(&self) -> String {
        file(self.file, self.elsewhere)
    }
}

/// Every pool named, as a whole map must.
fn whole(split: usize) -> Change {
    let named = |pool: &str| {
        let mut pairs = SPLITS[split].split(' ');
        let found = pairs.find_map(|pair| pair.strip_prefix(&format!("{pool}=")));
        format!("{pool}={}", found.unwrap_or("0"))
    };
    weights(&["blue", "green", "red"].map(named).join(" "))
}

async fn follow(steps: Vec<Step>) {
    let mut model = Model {
        file: 0,
        decided: None,
        elsewhere: 1,
    };
    let mut world = World::start(&model.text());
    let mut revision = world.revision().await;
    for step in steps {
        let before = model.serving();
        match &step {
            Step::Edit(split) => {
                model.edit(*split);
                world.edit(&model.text()).await.unwrap();
            }
            Step::EditElsewhere => {
                model.elsewhere += 1;
                world.edit(&model.text()).await.unwrap();
            }
            Step::Decide(split) => {
                world.change(whole(*split)).await.unwrap();
                if *split != before {
                    let differs = *split != model.file;
                    model.decided = differs.then_some((*split, model.file));
                }
            }
            Step::Restart => world = world.restart(&model.text()).await,
            Step::EditWhileStopped(split) => {
                model.edit(*split);
                world = world.restart(&model.text()).await;
            }
            Step::Revert => {
                model.decided = None;
                let revert = Change::Revert {
                    service: name("shop"),
                    field: None,
                    force: false,
                };
                world.change(revert).await.unwrap();
            }
        }
        let serving = model.serving();
        world
            .until(|shop| shop.weights.to_string() == SPLITS[serving])
            .await;
        let drifts = !world.drift().await.is_empty();
        assert_eq!(drifts, serving != model.file, "after {step:?}");
        let now = world.revision().await;
        assert!(now >= revision, "revisions grow");
        assert!(
            now > revision || serving == before,
            "a decision has a revision"
        );
        revision = now;
    }
    world.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_decision_stands_until_the_file_says_something_else(steps in prop::collection::vec(step(), 1..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(follow(steps));
    }
}

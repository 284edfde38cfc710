use std::{cell::RefCell, rc::Rc};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// The tasks that one connection runs in, so that it can be ended whatever they wait for.
#[derive(Clone, Default)]
pub struct Tasks(Rc<RefCell<JoinSet<()>>>);

impl Tasks {
    pub fn end(&self) {
        self.0.borrow_mut().abort_all();
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        let mut tasks = self.0.borrow_mut();
        // What has ended is forgotten as new tasks come.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(future);
    }
}
